#!/usr/bin/env python3
"""vit.py DIR HIDDEN LAYERS HEADS FEED IMAGE - a BLIP-2 checkpoint with an image encoder of that size
(random f16 weights) and nothing else, for tests of memory and time. blip2-opt-2.7b's encoder is
1408 39 16 6144 224."""
import json, os, sys
import numpy as np

out, (D, layers, heads, F, image) = sys.argv[1], map(int, sys.argv[2:])
patch = 14
N = (image // patch) ** 2 + 1
shapes = {"embeddings.class_embedding": (1, 1, D), "embeddings.position_embedding": (1, N, D),
          "embeddings.patch_embedding.weight": (D, 3, patch, patch), "embeddings.patch_embedding.bias": (D,),
          "post_layernorm.weight": (D,), "post_layernorm.bias": (D,)}
for i in range(layers):
    for name, shape in {"layer_norm1": (D,), "layer_norm2": (D,), "mlp.fc1": (F, D), "mlp.fc2": (D, F),
                        "self_attn.projection": (D, D), "self_attn.qkv": (3 * D, D)}.items():
        shapes[f"encoder.layers.{i}.{name}.weight"] = shape
        shapes[f"encoder.layers.{i}.{name}.bias"] = shape[:1]
head, at = {}, 0
for k, s in shapes.items():
    n = 2 * int(np.prod(s))
    head["vision_model." + k] = {"dtype": "F16", "shape": s, "data_offsets": [at, at + n]}
    at += n
os.makedirs(out, exist_ok=True)
text = json.dumps(head).encode()
text += b" " * (-len(text) % 8)
noise = (np.random.default_rng(0).standard_normal(1 << 20) * 0.02).astype("f2")
with open(out + "/model.safetensors", "wb") as f:
    f.write(len(text).to_bytes(8, "little") + text)
    for k, s in shapes.items():
        n = int(np.prod(s))
        f.write((np.ones(n, "f2") if "norm" in k and k.endswith("weight") else np.resize(noise, n)).tobytes())
json.dump({"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2",
           "vision_config": {"hidden_size": D, "num_hidden_layers": layers, "num_attention_heads": heads,
                             "intermediate_size": F, "image_size": image, "patch_size": patch}},
          open(out + "/config.json", "w"))
json.dump({"do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
           "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
           "rescale_factor": 1 / 255, "size": {"height": image, "width": image}},
          open(out + "/preprocessor_config.json", "w"))
