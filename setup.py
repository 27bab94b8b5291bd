"""The extensions, their compiler flags and one debug switch; everything else is in pyproject.toml.

BURGEE_DEBUG=1 builds with -O1, sanitizers and bounds checks, under build/debug; `make sanitize` runs the tests on it.
A wheel must run on any x86-64 or aarch64, so there is no -march: what a newer CPU does better is chosen at run time.
"""

import os
from glob import glob

from setuptools import Extension, setup

DEBUG = os.environ.get("BURGEE_DEBUG") == "1"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]

OPTIONS = {
    "undef_macros": ["NDEBUG"] if DEBUG else [],
    "extra_compile_args": [
        "-std=gnu11",
        *(["-O1", "-g", "-fno-omit-frame-pointer", *SANITIZERS] if DEBUG else ["-O3", "-fno-plt"]),
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",  # what Cython generates has many
        "-Werror=implicit-function-declaration",
    ],
    "extra_link_args": SANITIZERS if DEBUG else [],
}
EXTENSIONS = [
    Extension(
        "engine.snapshot",
        ["engine/snapshot.pyx"],
        include_dirs=["engine/core"],
        depends=[*sorted(glob("engine/core/*.h")), *sorted(glob("engine/*.pxd"))],
        **OPTIONS,
    ),
    Extension(
        "server.shared.page",
        ["server/shared/page.pyx"],
        include_dirs=["server/shared"],
        depends=["server/shared/page.h", "server/shared/page.pxd"],
        **OPTIONS,
    ),
    Extension(
        "server.front.admission",
        ["server/front/admission.pyx"],
        include_dirs=["server/front", "server/shared"],
        depends=["server/front/turns.h", *sorted(glob("server/*/*.pxd")), "server/shared/page.h"],
        **OPTIONS,
    ),
    Extension(
        "server.front.protocol",
        ["server/front/protocol.pyx"],
        include_dirs=["server/front", "server/shared"],
        depends=[*sorted(glob("server/front/*.h")), *sorted(glob("server/*/*.pxd")), "server/shared/page.h"],
        **OPTIONS,
    ),
]
for extension in EXTENSIONS:
    extension.cython_directives = {
        "language_level": "3",
        "boundscheck": DEBUG,
        "wraparound": False,
        "auto_pickle": False,  # what holds C state is not pickled
        "autotestdict": False,
    }

setup(
    ext_modules=EXTENSIONS,
    options={
        "build": {"build_base": "build/debug" if DEBUG else "build"},
        "build_ext": {"cython_c_in_temp": True},  # no generated C among the sources
    },
)
