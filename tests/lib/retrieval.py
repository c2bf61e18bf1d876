#!/usr/bin/env python3
"""retrieval.py DIR - a tiny Blip2ForImageTextRetrieval checkpoint with random weights and a vocabulary
of its own: 32 x 2 Q-Former with 4 queries, encoder of width 40, images of 28 x 28."""
import json, os, sys
import numpy as np

D, F, L, Q, E, J, SIDE, PATCH = 32, 48, 2, 4, 40, 16, 28, 14
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the red green blue yellow circle square star triangle on and of photo ##s , .".split()

def tensors():
    rng = np.random.default_rng(7)
    t = {}
    def put(name, *shape, one=False):
        t[name] = (rng.standard_normal(shape) * 0.2 + one).astype("<f4")
    def linear(name, n, k):
        put(name + ".weight", n, k), put(name + ".bias", n)
    def norm(name, d):
        put(name + ".weight", d, one=True), put(name + ".bias", d)
    N = (SIDE // PATCH) ** 2 + 1
    put("vision_model.embeddings.class_embedding", 1, 1, E)
    put("vision_model.embeddings.position_embedding", 1, N, E)
    linear("vision_model.embeddings.patch_embedding", E, 3 * PATCH * PATCH)
    w = t["vision_model.embeddings.patch_embedding.weight"]
    t["vision_model.embeddings.patch_embedding.weight"] = w.reshape(E, 3, PATCH, PATCH)
    v = "vision_model.encoder.layers.0."
    norm(v + "layer_norm1", E), norm(v + "layer_norm2", E)
    linear(v + "self_attn.qkv", 3 * E, E), linear(v + "self_attn.projection", E, E)
    linear(v + "mlp.fc1", 2 * E, E), linear(v + "mlp.fc2", E, 2 * E)
    norm("vision_model.post_layernorm", E)
    put("query_tokens", 1, Q, D)
    norm("qformer.layernorm", D)
    put("embeddings.word_embeddings.weight", len(WORDS) + 1, D)
    put("embeddings.position_embeddings.weight", 24, D)
    for i in range(L):
        p = f"qformer.encoder.layer.{i}."
        for part, width in [("attention", D)] + [("crossattention", E)] * (i % 2 == 0):
            linear(p + part + ".attention.query", D, D)
            linear(p + part + ".attention.key", D, width), linear(p + part + ".attention.value", D, width)
            linear(p + part + ".output.dense", D, D), norm(p + part + ".output.LayerNorm", D)
        for tail in ["", "_query"]:
            linear(p + "intermediate" + tail + ".dense", F, D), linear(p + "output" + tail + ".dense", D, F)
            norm(p + "output" + tail + ".LayerNorm", D)
    linear("vision_projection", J, D), linear("text_projection", J, D), linear("itm_head", 2, D)
    return t

CONFIG = {
    "architectures": ["Blip2ForImageTextRetrieval"], "model_type": "blip-2", "num_query_tokens": Q,
    "image_text_hidden_size": J, "image_token_index": None,
    "vision_config": {"hidden_size": E, "intermediate_size": 2 * E, "num_hidden_layers": 1, "num_attention_heads": 4,
                      "image_size": SIDE, "patch_size": PATCH, "model_type": "blip_2_vision_model"},
    "qformer_config": {"hidden_size": D, "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": 4,
                       "encoder_hidden_size": E, "vocab_size": len(WORDS) + 1, "max_position_embeddings": 24,
                       "use_qformer_text_input": True, "model_type": "blip_2_qformer"},
}

def save(path, t):
    head, at = {}, 0
    for k, v in t.items():
        head[k] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [at, at + v.nbytes]}
        at += v.nbytes
    raw = json.dumps(head).encode()
    raw += b" " * (-len(raw) % 8)
    with open(path, "wb") as f:
        f.write(len(raw).to_bytes(8, "little") + raw + b"".join(v.tobytes() for v in t.values()))

def main():
    d = sys.argv[1]
    os.makedirs(d, exist_ok=True)
    json.dump(CONFIG, open(d + "/config.json", "w"), indent=1)
    json.dump({"do_resize": True, "size": {"height": SIDE, "width": SIDE}, "image_processor_type": "BlipImageProcessor"},
              open(d + "/preprocessor_config.json", "w"))
    open(d + "/vocab.txt", "w").write("\n".join(WORDS) + "\n")
    save(d + "/model.safetensors", tensors())

if __name__ == "__main__":
    main()
