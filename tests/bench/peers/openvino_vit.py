"""OpenVINO, or ONNX Runtime, on ViT-g in its exact shapes, random weights: openvino_vit.py openvino|int8|onnxruntime THREADS.

int8: full post-training quantisation by NNCF, weights and activations."""
import sys
import tempfile

import torch
from transformers import Blip2VisionConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2VisionModel
from worker import clock, serve

kind, threads = sys.argv[1], int(sys.argv[2])
config = Blip2VisionConfig()
config._attn_implementation = "eager"
model = Blip2VisionModel(config).eval().requires_grad_(False)
with torch.no_grad():
    for t in model.parameters():
        if t.dim() > 1:
            t.normal_(0, 0.02)


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model(pixel_values=pixels, return_dict=False)[0]


example = torch.randn(1, 3, 224, 224)


def openvino(quantise):
    import openvino as ov
    with torch.no_grad():
        converted = ov.convert_model(Plain(), example_input=example, input=[1, 3, 224, 224])
    if quantise:
        import nncf
        data = nncf.Dataset([torch.randn(1, 3, 224, 224).numpy() for _ in range(2)])
        converted = nncf.quantize(converted, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=2)
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(converted, "CPU", options).create_infer_request()
    return lambda x: request.infer([x])


def onnxruntime():
    import onnxruntime as ort
    with tempfile.TemporaryDirectory() as d:
        torch.onnx.export(Plain(), (example,), d + "/vit.onnx", dynamo=False, input_names=["pixels"], opset_version=17)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(d + "/vit.onnx", options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"pixels": x})


infer = onnxruntime() if kind == "onnxruntime" else openvino(kind == "int8")
pixels = example.numpy()
serve(lambda n: {"s": clock(lambda: [infer(pixels) for _ in range(n)])})
