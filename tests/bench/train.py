#!/usr/bin/env python3
"""train.py - a training step beside PyTorch's, at the paper's sizes: batch 16, 257x1408 features.

    make build/tests/bench/train && python3 tests/bench/train.py [1|2] [THREADS] [WORDS] [STEPS]

Needs torch and safetensors. Stage 1 is LAVIS's three losses on its shapes (texts padded to 32),
with torch's fused attention; stage 2 goes through transformers' OPT at 125m's sizes (it too pads).
Seconds are the least of the steps after the first; memory is the most the process had.
Wall clock means something on an idle machine only; CPU seconds are printed beside it."""
import json, resource, subprocess, sys, tempfile, time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

STAGE, THREADS, WORDS, STEPS = ([int(a) for a in sys.argv[1:]] + [1, 2, 12, 3][len(sys.argv) - 1:])
B, S, E, D, H, L, Q, T, V = 16, 257, 1408, 768, 12, 12, 32, 32, 30523


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(D, D), nn.Linear(width, D), nn.Linear(width, D)
        self.o, self.norm = nn.Linear(D, D), nn.LayerNorm(D, eps=1e-12)

    def forward(self, x, source, mask=None, before=None):
        heads = lambda t: t.view(t.shape[0], -1, H, D // H).transpose(1, 2)
        q, k, v = heads(self.q(x)), heads(self.k(source)), heads(self.v(source))
        kept = k, v
        if before:
            k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        a = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=0.1)
        a = a.transpose(1, 2).reshape(x.shape[0], -1, D)
        return self.norm(F.dropout(self.o(a), 0.1) + x), kept


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(D, 4 * D), nn.Linear(4 * D, D), nn.LayerNorm(D, eps=1e-12)

    def forward(self, x):
        return self.norm(F.dropout(self.down(F.gelu(self.up(x))), 0.1) + x)


class Layer(nn.Module):
    def __init__(self, i, text):
        super().__init__()
        self.own, self.query = Attention(D), FeedForward()
        self.cross = Attention(E) if i % 2 == 0 else None
        self.text = FeedForward() if text else None

    def forward(self, x, image, n, mask, before):
        x, kept = self.own(x, x, mask, before)
        parts = []
        if n:
            q = x[:, :n]
            parts.append(self.query(self.cross(q, image)[0] if self.cross else q))
        if x.shape[1] > n:
            parts.append(self.text(x[:, n:]))
        return torch.cat(parts, 1), kept


class QFormer(nn.Module):
    def __init__(self, text):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, Q, D) * 0.02)
        self.norm, self.ln_vision = nn.LayerNorm(D, eps=1e-12), nn.LayerNorm(E)
        self.layers = nn.ModuleList(Layer(i, text) for i in range(L))
        if text:
            self.words, self.places = nn.Embedding(V, D), nn.Embedding(512, D)
            self.vision, self.said, self.itm = nn.Linear(D, 256), nn.Linear(D, 256), nn.Linear(D, 2)
            self.dense, self.head_norm = nn.Linear(D, D), nn.LayerNorm(D, eps=1e-12)
            self.bias, self.temp = nn.Parameter(torch.zeros(V)), nn.Parameter(torch.tensor(0.07))

    def read(self, image=None, ids=None, mask=None, before=None):
        parts = []
        if image is not None:
            parts.append(self.tokens.expand(image.shape[0], -1, -1))
        if ids is not None:
            parts.append(self.words(ids) + self.places.weight[:ids.shape[1]])
        x, kept = F.dropout(self.norm(torch.cat(parts, 1)), 0.1), []
        for i, layer in enumerate(self.layers):
            x, k = layer(x, image, Q if image is not None else 0, mask, before[i] if before else None)
            kept.append(k)
        return x, kept


def stage1(m, feats, ids, real):
    image = m.ln_vision(feats)
    n = len(ids)
    x, kept = m.read(image)
    z = F.normalize(m.vision(x), dim=-1)
    w = F.normalize(m.said(m.read(ids=ids, mask=real[:, None, None, :])[0][:, 0]), dim=-1)
    s_i = torch.einsum('iqp,tp->itq', z, w.detach()).max(-1).values / m.temp
    s_t = torch.einsum('tp,iqp->tiq', w, z.detach()).max(-1).values / m.temp
    own = torch.arange(n)
    itc = (F.cross_entropy(s_i, own, label_smoothing=0.1) + F.cross_entropy(s_t, own, label_smoothing=0.1)) / 2
    with torch.no_grad():
        off = torch.eye(n) * -10000
        image_of = torch.multinomial(F.softmax(s_t + off, 1), 1)[:, 0]
        text_of = torch.multinomial(F.softmax(s_i + off, 1), 1)[:, 0]
    many = torch.cat([image, image[image_of], image])
    texts, reals = torch.cat([ids, ids, ids[text_of]]), torch.cat([real, real, real[text_of]])
    mask = torch.cat([torch.ones(3 * n, Q, dtype=bool), reals], 1)[:, None, None, :]
    logits = m.itm(m.read(many, texts, mask)[0][:, :Q]).mean(1)
    itm = F.cross_entropy(logits, torch.cat([torch.ones(n), torch.zeros(2 * n)]).long())
    causal = torch.ones(T, T, dtype=bool).tril() & real[:, None, :]
    mask = torch.cat([torch.ones(n, T, Q, dtype=bool), causal], 2)[:, None]
    h = m.read(ids=ids, mask=mask, before=kept)[0]
    h = m.head_norm(F.gelu(m.dense(h))) @ m.words.weight.T + m.bias
    labels = ids.masked_fill(~real, -100)
    lm = F.cross_entropy(h[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1), label_smoothing=0.1)
    return itc + itm + lm


def stage2(m, opt, project, feats, ids, real):
    visual = project(m.read(m.ln_vision(feats))[0])
    x = torch.cat([visual, opt.get_input_embeddings()(ids)], 1)
    labels = torch.cat([torch.full((B, Q), -100), ids.masked_fill(~real, -100)], 1)
    mask = torch.cat([torch.ones(B, Q, dtype=torch.long), real.long()], 1)
    return opt(inputs_embeds=x, attention_mask=mask, labels=labels).loss


def measure_torch(opt_dir):
    torch.set_num_threads(THREADS)
    m = QFormer(STAGE == 1)
    params, opt = list(m.parameters()), None
    if STAGE == 2:
        from transformers import OPTForCausalLM
        opt, project = OPTForCausalLM.from_pretrained(opt_dir, dtype=torch.float32), nn.Linear(D, 768)
        opt.requires_grad_(False)
        params += project.parameters()
    adamw = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.05)
    feats, ids = torch.rand(B, S, E) * 2 - 1, torch.randint(1000, 20000, (B, T))
    real = (torch.arange(T) < WORDS).expand(B, T)
    for _ in range(STEPS):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = stage1(m, feats, ids, real) if STAGE == 1 else stage2(m, opt, project, feats, ids, real)
        loss.backward()
        adamw.step()
        adamw.zero_grad()
        print(json.dumps({'wall': time.perf_counter() - wall, 'cpu': time.process_time() - cpu,
                          'loss': loss.item(),
                          'mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}), flush=True)


def make_model(d):
    """A checkpoint with nothing of the Q-Former, which both sides start at random; stage 2: and OPT."""
    from safetensors.torch import save_file
    config = {'num_query_tokens': Q, 'image_text_hidden_size': 256,
              'vision_config': {'hidden_size': E, 'layer_norm_eps': 1e-5},
              'qformer_config': {'vocab_size': V, 'use_qformer_text_input': STAGE == 1},
              'architectures': ['Blip2ForImageTextRetrieval' if STAGE == 1 else 'Blip2ForConditionalGeneration']}
    tensors = {'none': torch.zeros(1)}
    if STAGE == 2:
        from transformers import OPTConfig, OPTForCausalLM
        opt = OPTForCausalLM(OPTConfig())  # the defaults are those of 125m
        opt.save_pretrained(d / 'opt')
        config['text_config'] = {'model_type': 'opt', 'vocab_size': opt.config.vocab_size}
        tensors.update({'language_model.' + k: v for k, v in opt.state_dict().items() if k != 'lm_head.weight'})
    (d / 'config.json').write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in tensors.items()}, d / 'model.safetensors')


def best(lines):
    rows = [json.loads(line) for line in lines.splitlines()]
    later = rows[1:] or rows
    return min(r['wall'] for r in later), min(r['cpu'] for r in later), rows[-1]['mib']


def main():
    with tempfile.TemporaryDirectory() as d:
        make_model(Path(d))
        ours = [str(Path('build/tests/bench/train')), d, STAGE, B, THREADS, WORDS, STEPS, 0]
        script = f'import sys; sys.argv = ["", "{STAGE}", "{THREADS}", "{WORDS}", "{STEPS}"]; ' \
                 f'import runpy; runpy.run_path({__file__!r})["measure_torch"]({d + "/opt"!r})'
        for name, command in ('vqatools', ours), ('torch', [sys.executable, '-c', script]):
            out = subprocess.run([str(a) for a in command], check=True, capture_output=True, text=True).stdout
            wall, cpu, mib = best(out)
            print(f'{name:9} {B / wall:6.3f} samples/s ({wall:.1f} s a step), {cpu:.1f} CPU s, {mib} MiB', flush=True)


if __name__ == '__main__':
    main()
