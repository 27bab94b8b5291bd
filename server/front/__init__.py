"""Evaluate requests answered inside `data_received`; everything else handed, untouched, to aiohttp (ADR 0009)."""
