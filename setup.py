"""Compiles the hot path, where a C compiler is there; installs without it, running uncompiled, where none is."""

import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Each module is plain Python that Cython compiles as it stands ("pure Python mode").
COMPILED = (
    "coloproxy.compare.engine", "coloproxy.rewrite.engine", "coloproxy.link.burst", "coloproxy.link.coalesce",
    "coloproxy.link.framing", "coloproxy.link.vhost.ring",
)


class OptionalBuildExt(build_ext):
    """A failed compilation is a slower coloproxy, not a failed installation."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            self.uncompiled(error)

    def build_extension(self, extension: Extension) -> None:
        try:
            super().build_extension(extension)
        except Exception as error:
            self.uncompiled(error)

    def uncompiled(self, error: Exception) -> None:
        print(f"coloproxy: the engine was not compiled ({error}); it will run uncompiled, many times slower.",
              file=sys.stderr)


def extensions() -> list[Extension]:
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [Extension(name, [f"src/{name.replace('.', '/')}.py"], extra_compile_args=["-O3"]) for name in COMPILED]
    return cythonize(  # type: ignore[no-any-return]
        modules,
        build_dir="build/cython",
        # Bounds checks stay on in production: no input may read outside its frame.
        compiler_directives={"language_level": "3", "boundscheck": True, "wraparound": False, "cdivision": True,
                             "initializedcheck": False},
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuildExt})
