"""neox_gguf.py OUT.gguf - a random GPT-NeoX with opt-2.7b's matrix shapes in f16. llama.cpp has no OPT; this model makes it
read as many bytes a token and multiply the same matrices. Needs gguf and numpy."""
import sys

import gguf
import numpy as np

D, F, L, H, V = 2560, 10240, 32, 32, 50304
w = gguf.GGUFWriter(sys.argv[1], "gptneox")
w.add_context_length(2048)
w.add_embedding_length(D)
w.add_block_count(L)
w.add_feed_forward_length(F)
w.add_rope_dimension_count(20)
w.add_head_count(H)
w.add_parallel_residual(False)
w.add_layer_norm_eps(1e-5)
w.add_tokenizer_model("no_vocab")
w.add_vocab_size(V)
w.add_file_type(1)
numbers = (np.random.default_rng(0).standard_normal(F * D).astype(np.float32) * 0.02).astype(np.float16)


def norm(name):
    w.add_tensor(name + ".weight", np.ones(D, np.float32))
    w.add_tensor(name + ".bias", np.zeros(D, np.float32))


w.add_tensor("token_embd.weight", np.resize(numbers, (V, D)))
norm("output_norm")
w.add_tensor("output.weight", np.resize(numbers, (V, D)))
for i in range(L):
    norm(f"blk.{i}.attn_norm")
    norm(f"blk.{i}.ffn_norm")
    for name, rows, columns in (("attn_qkv", 3 * D, D), ("attn_output", D, D), ("ffn_up", F, D), ("ffn_down", D, F)):
        w.add_tensor(f"blk.{i}.{name}.weight", np.resize(numbers, (rows, columns)))
        w.add_tensor(f"blk.{i}.{name}.bias", np.zeros(rows, np.float32))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
