"""CSS, scripts, fonts and pictures, as `collectstatic` leaves them for the web process."""

from collections.abc import Iterable
from typing import Any

from whitenoise.compress import Compressor
from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedFiles(CompressedManifestStaticFilesStorage):
    """Each file under a name that has the hash of its content, and compressed: browsers keep it for good, unasked."""

    def url(self, name: str, force: bool = False) -> Any:
        """The address by the hashed name, with DEBUG too: the demo is served like everything else.

        Raises ValueError for a file that was not collected.
        """
        return super().url(name, force=True)

    def create_compressor(self, **kwargs: Any) -> Compressor:
        """By gzip, whatever else happens to be installed where this runs."""
        return Compressor(use_brotli=False, **kwargs)

    def compress_files(self, paths: Iterable[str]) -> Any:
        """Not what is there by its own name too: no page asks for it so."""
        return super().compress_files(set(paths) & set(self.hashed_files.values()))
