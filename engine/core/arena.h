/* Memory that lives as long as one context is being answered: bump allocation, given back all at once. */
#ifndef BURGEE_ARENA_H
#define BURGEE_ARENA_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct Chunk { struct Chunk *next; size_t size, used; } Chunk;
typedef struct { Chunk *first, *current; } Arena;

/* 16-byte aligned; NULL when memory is out. */
static inline void *arena_take(Arena *arena, size_t n) {
    n = (n + 15) & ~(size_t)15;
    Chunk *chunk = arena->current;
    while (chunk && chunk->size - chunk->used < n && chunk->next) {
        chunk = chunk->next;
        chunk->used = 0;
    }
    if (!chunk || chunk->size - chunk->used < n) {
        size_t size = chunk ? chunk->size * 2 : 1024;
        while (size < n) size *= 2;
        Chunk *fresh = malloc(sizeof(Chunk) + 16 + size);
        if (!fresh) return NULL;
        *fresh = (Chunk){NULL, size, 0};
        if (chunk) chunk->next = fresh; else arena->first = fresh;
        chunk = fresh;
    }
    arena->current = chunk;
    void *taken = (void *)((((uintptr_t)(chunk + 1) + 15) & ~(uintptr_t)15) + chunk->used);
    chunk->used += n;
    return taken;
}

/* What is taken between these two is given back. */
typedef struct { Chunk *chunk; size_t used; } ArenaMark;

static inline ArenaMark arena_mark(const Arena *arena) {
    return (ArenaMark){arena->current, arena->current ? arena->current->used : 0};
}

static inline void arena_release(Arena *arena, ArenaMark mark) {
    arena->current = mark.chunk ? mark.chunk : arena->first;
    if (arena->current) arena->current->used = mark.used;
}

static inline void arena_reset(Arena *arena) {
    arena->current = arena->first;
    if (arena->first) arena->first->used = 0;
}

/* Keeps one small chunk, so that one huge context does not hold its memory for ever. */
static inline void arena_trim(Arena *arena) {
    if (!arena->first || !arena->first->next) return;
    for (Chunk *chunk = arena->first->next, *next; chunk; chunk = next) { next = chunk->next; free(chunk); }
    arena->first->next = NULL;
    arena->current = arena->first;
}

static inline void arena_free(Arena *arena) {
    for (Chunk *chunk = arena->first, *next; chunk; chunk = next) { next = chunk->next; free(chunk); }
    *arena = (Arena){NULL, NULL};
}

#endif
