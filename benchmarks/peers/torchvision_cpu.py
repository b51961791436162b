"""Import this before torchvision: lets a CUDA build of torchvision run beside a CPU-only torch.

Package indexes may pair a CPU-only torch with a torchvision whose C++ operators are linked against
CUDA. Those operators then do not load, which torchvision itself tolerates; but while it is imported
it registers shape functions for two of them, `nms` and `qnms`, and torch refuses to register one
for an operator it has never heard of: "operator torchvision::nms does not exist".

Declaring the operators' signatures, without an implementation, is enough. They suppress overlapping
boxes in object detection; the image transforms that the benchmarks time never call them.
Where torchvision loads as it should, this module changes nothing.
"""

import sys

import torch

_library = None  # torch forgets the declarations when this object is garbage-collected

try:
    import torchvision
except RuntimeError as error:
    if "operator torchvision::" not in str(error):
        raise
    # The failed import left some of torchvision's submodules behind; begin afresh.
    for _name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[_name]
    _library = torch.library.Library("torchvision", "DEF")
    for _operator in ("nms", "qnms"):
        _library.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
