"""CTranslate2's OPT in opt-2.7b's shapes, random weights: ct2_opt.py DIR COMPUTE THREADS NEW. DIR holds the converted model,
made once (it needs as much memory as a f16 checkpoint)."""
import json
import os
import sys

import ctranslate2
from worker import clock, serve

directory, compute, threads, new = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
V = 50304


def checkpoint(path):
    import torch
    from transformers import OPTConfig, OPTForCausalLM
    config = OPTConfig(hidden_size=2560, num_hidden_layers=32, num_attention_heads=32, ffn_dim=10240, vocab_size=V,
                       word_embed_proj_dim=2560)
    torch.set_default_dtype(torch.float16)
    with torch.device("meta"):
        model = OPTForCausalLM(config)
    model = model.to_empty(device="cpu")
    model.tie_weights()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_((torch.rand(p.shape, dtype=torch.float32) - 0.5).mul_(0.03).half())
    model.save_pretrained(path)
    with open(os.path.join(path, "vocab.json"), "w") as f:
        json.dump({f"t{i}": i for i in range(V)}, f)


class Tokens:
    bos_token, eos_token, unk_token, pad_token = "t2", "t2", "t3", "t1"

    def get_vocab(self):
        return {f"t{i}": i for i in range(V)}


def convert(path):
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_tokenizer(self, *args, **kwargs):
            return Tokens()

    source = os.path.join(directory, "opt")
    if not os.path.exists(os.path.join(source, "config.json")):
        checkpoint(source)
    Converter(source, load_as_float16=True, low_cpu_mem_usage=True).convert(path, quantization=compute, force=True)


converted = os.path.join(directory, "ct2-" + compute)
if not os.path.exists(os.path.join(converted, "model.bin")):
    convert(converted)
generator = ctranslate2.Generator(converted, device="cpu", compute_type=compute, intra_threads=threads)
prompt = ["t2"] + [f"t{100 + i}" for i in range(45)]


def generate(n, tokens):
    generator.generate_batch([prompt] * n, max_length=tokens, min_length=tokens, sampling_topk=1,
                             include_prompt_in_result=False)


def run(n):
    first, whole = clock(lambda: generate(n, 1)), clock(lambda: generate(n, new))
    return {"prefill_s": first, "token_s": (whole - first) / (new - 1), "s": whole}


serve(run)
