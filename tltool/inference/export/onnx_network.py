"""Network as an ONNX graph, from 8-bit images to logits and probabilities, by torch's exporter."""

import importlib
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from tltool.inference.export.exported_model import ExportedModel
from tltool.inference.export.graph_preprocessing import GraphPreprocessing, Normalization
from tltool.inference.export.onnx_runner import UNKNOWN
from tltool.inference.export.output_layer import OutputLayer
from tltool.inference.export.unknown_layer import UnknownLayer

OPSET = 20
"""The version of ONNX's operators; onnxruntime knows it from 1.17 on."""

INPUT = "images"


class ImageNetwork(nn.Module):
    """Preprocessing, network and calibration in one module.

    Args:
        preprocessing: From 8-bit images to what the network expects.
        network: From there to logits.
        outputs: From logits to probabilities, see `OutputLayer`.
        unknown: From features and probabilities to the score of unknown inputs, see `UnknownLayer`;
            ``None`` where the checkpoint does not know it.

    Shape:
        - Input: ``(B, H, W, C)``, uint8
        - Output: logits ``(B, num_outputs)``, their probabilities, and the score ``(B,)``
    """

    def __init__(
        self,
        preprocessing: Normalization,
        network: ExportedModel,
        outputs: OutputLayer,
        unknown: UnknownLayer | None = None,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network
        self.outputs = outputs
        self.unknown = unknown

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs."""
        return ["logits", self.outputs.name, *([] if self.unknown is None else [UNKNOWN])]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits, probabilities and the score of unknown inputs."""
        features = self.network.backbone(self.preprocessing(images))
        logits = self.network.head(features).float()
        predicted = self.outputs(logits)
        if self.unknown is None:
            return logits, predicted
        return logits, predicted, self.unknown(features, predicted)


def onnx_model(network: ImageNetwork, data_config: Mapping[str, Any]) -> Any:
    """Return a network as an ONNX model for any number of images.

    Args:
        network: The network, on the CPU and in evaluation mode.
        data_config: Its preprocessing.

    Raises:
        ValueError: If torch cannot export a layer; the message names it.
    """
    channels, *crop = data_config["input_size"]
    dims = {0: torch.export.Dim("batch")}
    if isinstance(network.preprocessing, GraphPreprocessing):
        crop = [edge + 17 for edge in crop]  # Equal numbers would be taken for one.
        dims |= {1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    images = torch.zeros(3, *crop, channels, dtype=torch.uint8)
    program = _program(network, images, dims)
    exporter = importlib.import_module("torch.onnx")
    try:
        with redirect_stdout(io.StringIO()):  # It prints how far it is.
            exported = exporter.export(
                program,
                (),
                dynamo=True,
                input_names=[INPUT],
                output_names=network.output_names,
                opset_version=OPSET,
                verbose=False,
            )
    except exporter.OnnxExporterError as error:
        raise _refused(*_untranslated(program, error)) from error
    model = exported.model_proto
    _forget_sources(model)
    _name_dimensions(model)
    return model


def _program(network: ImageNetwork, images: Tensor, dims: dict[int, Any]) -> Any:
    """Record the operations of a network."""
    with _entered_layers(network) as entered, torch.no_grad():
        network(images)  # What looks at its numbers once, such as an input norm, has done so then.
        entered.clear()
        try:
            return torch.export.export(network, (images,), dynamic_shapes=(dims,), strict=False)
        except (RuntimeError, torch._dynamo.exc.UserError) as error:
            raise _refused(entered[-1] if entered else "", _first_line(error)) from error


@contextmanager
def _entered_layers(network: nn.Module) -> Iterator[list[str]]:
    """Yield the names of the layers that are being computed, the innermost last."""
    entered: list[str] = []
    hooks = []
    for name, module in network.named_modules():
        description = f"{name} ({type(module).__name__})"
        hooks.append(
            module.register_forward_pre_hook(lambda *_, name=description: entered.append(name))
        )
        hooks.append(module.register_forward_hook(lambda *_: entered.pop() and None))
    try:
        yield entered
    finally:
        for hook in hooks:
            hook.remove()


def _untranslated(program: Any, error: BaseException) -> tuple[str, str]:
    """Return the layer of the operation that ONNX has no translation of, and why."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    found = re.search(r"translating node %(\w+)", "\n".join(map(str, causes)))
    layer = ""
    if found:
        nodes = {node.name: node for node in program.run_decompositions().graph.nodes}
        stack = nodes[found[1]].meta.get("nn_module_stack") if found[1] in nodes else None
        if stack:
            name, kind = list(stack.values())[-1]
            layer = f"{name} ({str(kind).rpartition('.')[2]})"
    return layer, _first_line(causes[-1])


def _refused(layer: str, reason: str) -> ValueError:
    where = f"the layer {layer.removeprefix('network.')}" if layer else "this network"
    return ValueError(
        f"torch cannot export {where} to ONNX: {reason}. Train with another one there, or export "
        "to another format."
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _forget_sources(model: Any) -> None:
    """Remove what the exporter notes of the source code, with the folders of this machine."""
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, graph):
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
        graphs += [each.g for node in graph.node for each in node.attribute if each.HasField("g")]


def _name_dimensions(model: Any) -> None:
    """Name the sizes that may vary, which the exporter numbers."""
    taken = model.graph.input[0].type.tensor_type.shape.dim
    names = dict(
        zip((each.dim_param for each in taken), ("batch", "height", "width"), strict=False)
    )
    for value in (*model.graph.input, *model.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = names[size.dim_param]
    del model.graph.value_info[:]
