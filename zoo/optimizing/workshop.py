"""Makes the forms of one network: finds or writes their files, opens and proves them."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor, nn

from zoo.errors import OptimizationError, VerificationError
from zoo.optimizing.artefacts import Artefacts, find_tensor_digest, find_versions
from zoo.optimizing.backends import BACKENDS, EAGER, Backend, find_backend, installed_runtimes
from zoo.optimizing.capture import capture
from zoo.optimizing.choice import Choice, measure_milliseconds
from zoo.optimizing.extras import check_installed
from zoo.optimizing.optimized import Eager, Optimized
from zoo.optimizing.proof import check_place, prove
from zoo.optimizing.quantizing import QUANTIZING, quantize_onnx

LOG = logging.getLogger("zoo")


class Workshop:
    """Makes the forms of one network."""

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        *,
        calibration: Tensor | None,
        tolerance: float | None,
        min_agreement: float,
        cache_dir: Path | None,
    ) -> None:
        self.network = network
        self.images = images
        self.calibration = calibration
        self.limits: dict[str, Any] = {"tolerance": tolerance, "min_agreement": min_agreement}
        self.artefacts = Artefacts(network, images.shape[1:], cache_dir)
        self.precision = "float32" if calibration is None else "int8"

    @functools.cached_property
    def eager(self) -> Eager:
        """The folded network, which all other forms are made from."""
        return Eager(self.network).eval()

    def make(self, name: str) -> Optimized:
        """Return one form, proved.

        Raises:
            ZooError: see `optimize`.
        """
        if name == EAGER:
            return self._prove(self.eager, EAGER, None)
        backend = find_backend(name)
        check_place(self.images, f"backend {name!r}")
        check_installed(f"backend {name!r}", backend.all_packages)
        was_there = self.artefacts.find(self._key(backend)) is not None
        try:
            return self._open(backend)
        except VerificationError as error:
            if not was_there:
                raise
            # The key cannot see what a user's own forward does; the proof can.
            LOG.warning("made again, since the file in the cache did not fit: %s", error)
            return self._open(backend, anew=True)

    def make_fastest(self, images: Tensor) -> Optimized:
        """Return the form that takes the least time for these images.

        Raises:
            ZooError: there is none; that of the last one tried.
        """
        candidates = self._find_candidates()
        key = {
            "made": "choice",
            "candidates": candidates,
            "batch_size": len(images),
            "precision": self.precision,
            "versions": find_versions(p for c in candidates if c != EAGER for p in _packages(c)),
        }
        known = self._make_known(key)
        choice, best = known or self._measure(candidates, images)
        if known is None:
            with self.artefacts.obtain(key, lambda path: _write(path, choice), anew=True):
                pass
        LOG.info("%s%s", choice.describe(), "" if known is None else ", as measured before")
        best.choice = choice
        return best

    def _make_known(self, key: dict[str, Any]) -> tuple[Choice, Optimized] | None:
        """Return what was chosen before and its form, if that still passes the proof."""
        known = self.artefacts.find(key)
        if known is None:
            return None
        choice = msgspec.json.decode(known.read_bytes(), type=Choice)
        try:
            return choice, self.make(choice.backend)
        except (OptimizationError, VerificationError) as error:
            LOG.warning("measured again, since what was chosen before cannot be used: %s", error)
            return None

    def _measure(self, candidates: list[str], images: Tensor) -> tuple[Choice, Optimized]:
        made: dict[str, Optimized] = {}
        failures: dict[str, str] = {}
        for name in candidates:
            try:
                made[name] = self.make(name)
            except (OptimizationError, VerificationError) as error:
                if name == candidates[-1] and not made:
                    raise
                failures[name] = str(error)
                LOG.warning("left out %s: %s", name, error)
        milliseconds = {name: measure_milliseconds(form, images) for name, form in made.items()}
        fastest = min(milliseconds, key=lambda name: milliseconds[name])
        choice = Choice(
            backend=fastest,
            batch_size=len(images),
            milliseconds={name: round(value, 3) for name, value in milliseconds.items()},
            failures=failures,
        )
        return choice, made[fastest]

    def _find_candidates(self) -> list[str]:
        runtimes = [backend.name for backend in installed_runtimes()]
        if self.precision == "int8":
            if not runtimes:
                check_installed("precision='int8'", BACKENDS["onnxruntime"].all_packages)
            return runtimes
        if self.images.device.type != "cpu":
            return [EAGER]
        compiled = self.artefacts.find(self._key(BACKENDS["inductor"])) is not None
        return [EAGER, *runtimes, *(["inductor"] if compiled else [])]

    def _open(self, backend: Backend, *, anew: bool = False) -> Optimized:
        def write(path: Path) -> None:
            program = capture(self.eager.network, self.images)
            LOG.info("making the %s file of this network", backend.file.name)
            backend.file.write(program, path)

        def write_int8(path: Path) -> None:
            assert self.calibration is not None
            check_installed("precision='int8'", QUANTIZING)
            with self.artefacts.obtain(self._key(backend, float32=True), write) as source:
                quantize_onnx(source, path, self.calibration)

        chosen = write if self.calibration is None else write_int8
        with self.artefacts.obtain(self._key(backend), chosen, anew=anew) as path:
            run = backend.open(path)
        return self._prove(run, backend.name, tuple(self.images.shape[1:]))

    def _prove(self, run: Any, name: str, image_shape: tuple[int, ...] | None) -> Optimized:
        what = f"the {self.precision} form for backend {name!r}"
        return Optimized(
            self.network,
            run,
            backend=name,
            precision=self.precision,
            proof=prove(self.network, run, self.images, what, **self.limits),
            network_sha256=self.artefacts.network_sha256,
            image_shape=image_shape,
        )

    def _key(self, backend: Backend, *, float32: bool = False) -> dict[str, Any]:
        key: dict[str, Any] = {
            "made": backend.file.name,
            "versions": find_versions(backend.file.packages),
        }
        if self.calibration is not None and not float32:
            key["versions"] = find_versions((*backend.file.packages, *QUANTIZING))
            key["calibration"] = find_tensor_digest(self.calibration)
        return key


def _packages(name: str) -> tuple[str, ...]:
    return BACKENDS[name].all_packages


def _write(path: Path, choice: Choice) -> None:
    path.write_bytes(msgspec.json.encode(choice))
