"""The checkpoint formats the zoo reads, one table each; a new format is added here."""

from __future__ import annotations

from zoo.checkpoints.formats import (
    anglenas,
    autodl,
    autoformer,
    darts,
    dli14,
    fairnas,
    mit,
    mit_int8,
    mmrazor,
    nasbench_pytorch,
    nasnet,
    nni,
    ofa_supernet,
    pytorchcv,
    pytorchcv_cells,
    spos,
    timm,
    torchvision,
)
from zoo.checkpoints.formats.format import Format
from zoo.checkpoints.formats.native import NATIVE, NATIVE_HALF

FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        NATIVE,
        NATIVE_HALF,
        timm.TIMM,
        torchvision.TORCHVISION,
        torchvision.TORCHVISION_EFFICIENTNET,
        torchvision.TORCHVISION_MNASNET,
        # Before MIT's other files, whose names it shares: only a supernet has matrices.
        ofa_supernet.OFA_SUPERNET,
        mit.MIT,
        mit_int8.MIT_INT8,
        fairnas.FAIRNAS,
        anglenas.ANGLENAS,
        dli14.DLI14,
        pytorchcv.PYTORCHCV,
        pytorchcv_cells.PYTORCHCV_CELLS,
        autodl.AUTODL,
        spos.SPOS,
        spos.DSNAS,
        nasbench_pytorch.NASBENCH_PYTORCH,
        autoformer.AUTOFORMER,
        autoformer.PRENAS,
        darts.DARTS,
        nasnet.NASNET,
        mmrazor.MMRAZOR,
        nni.NNI,
    )
}
