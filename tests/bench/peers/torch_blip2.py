"""transformers' Blip2 on PyTorch, random weights in blip2-opt-2.7b's shapes: torch_blip2.py PART DTYPE THREADS NEW.

PART: vision, qformer, llm or answer, which is all of them; only that part is given memory."""
import sys

import torch
from transformers import Blip2Config, Blip2ForConditionalGeneration, OPTConfig
from worker import clock, serve

part, dtype, threads, new = sys.argv[1], getattr(torch, sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
IMAGE = 50265  # the token that visual rows take the place of
opt = OPTConfig(hidden_size=2560, num_hidden_layers=32, num_attention_heads=32, ffn_dim=10240, vocab_size=50304,
                word_embed_proj_dim=2560)
torch.set_default_dtype(dtype)
with torch.device("meta"):
    model = Blip2ForConditionalGeneration(Blip2Config(text_config=opt.to_dict(), image_token_index=IMAGE))
module = {"vision": model.vision_model, "qformer": model.qformer, "llm": model.language_model, "answer": model}[part].to_empty(device="cpu").eval()
with torch.no_grad():
    for t in [*module.parameters(), *module.buffers()]:
        if t.is_floating_point():
            t.fill_(0.01)
module.requires_grad_(False)
torch.set_default_dtype(torch.float32)


def encode(n):
    pixels = torch.randn(n, 3, 224, 224).to(dtype)
    return {"s": clock(lambda: module(pixel_values=pixels))}


def query(n):
    queries, image = torch.randn(n, 32, 768).to(dtype), torch.randn(n, 257, 1408).to(dtype)
    return {"s": clock(lambda: module(query_embeds=queries, encoder_hidden_states=image))}


def generate(n):
    rows, token = (0.1 * torch.randn(n, 46, 2560)).to(dtype), torch.full((n, 1), 5)
    kept = []

    def prefill():
        kept.append(module(inputs_embeds=rows, use_cache=True, logits_to_keep=1).past_key_values)

    def decode():
        for i in range(new - 1):
            module(input_ids=token, past_key_values=kept[0], use_cache=True,
                   attention_mask=torch.ones(n, 47 + i, dtype=torch.long))

    first, rest = clock(prefill), clock(decode)
    return {"prefill_s": first, "token_s": rest / (new - 1), "s": first + rest}


def answer(n):
    pixels, ids = torch.randn(n, 3, 224, 224).to(dtype), torch.tensor([[IMAGE] * 32 + [5] * 6] * n)
    return {"s": clock(lambda: module.generate(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids),
                                               do_sample=False, max_new_tokens=new, min_new_tokens=new))}


with torch.inference_mode():
    serve({"vision": encode, "qformer": query, "llm": generate, "answer": answer}[part])
