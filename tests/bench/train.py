#!/usr/bin/env python3
"""train.py - training steps beside PyTorch's, at the paper's sizes: batch 16, 257x1408 features.

    make bench-train PYTHON=/where/torch/is/bin/python3 TRAIN='--stage 1 --threads 2'

Needs torch, transformers and safetensors. Stage 1 is LAVIS's three losses on its shapes (texts padded
to 32), with torch's fused attention; stage 2 goes through transformers' OPT at 125m's sizes (it too
pads). Ours also measures the gradient's norm, as qformer-train does. The two take turns, a step each;
one of each goes unmeasured. Seconds are medians, wall clock, and CPU seconds beside them; memory is the
most a process had. --batch N: one step of ours with N pairs, in the parts that qformer-train makes of
them, for its memory."""
import argparse, json, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

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


def serve_torch(stage, threads, words, opt_dir):
    """A step for each line of standard input, as train.c does it."""
    torch.set_num_threads(threads)
    m = QFormer(stage == 1)
    params, opt = list(m.parameters()), None
    if stage == 2:
        from transformers import OPTForCausalLM
        opt, project = OPTForCausalLM.from_pretrained(opt_dir, dtype=torch.float32), nn.Linear(D, 768)
        opt.train().requires_grad_(False)  # LAVIS leaves it in train mode
        params += project.parameters()
    adamw = torch.optim.AdamW(params, lr=1e-4, weight_decay=0.05)
    feats, ids = torch.rand(B, S, E) * 2 - 1, torch.randint(1000, 20000, (B, T))
    real = (torch.arange(T) < words).expand(B, T)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = stage1(m, feats, ids, real) if stage == 1 else stage2(m, opt, project, feats, ids, real)
        loss.backward()
        adamw.step()
        adamw.zero_grad()
        print(json.dumps({'wall': time.perf_counter() - wall, 'cpu': time.process_time() - cpu,
                          'loss': loss.item(),
                          'mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}), flush=True)


def make_model(d, stage):
    """A checkpoint with nothing of the Q-Former, which both sides start at random; stage 2: and OPT."""
    from safetensors.torch import save_file
    config = {'num_query_tokens': Q, 'image_text_hidden_size': 256,
              'vision_config': {'hidden_size': E, 'layer_norm_eps': 1e-5},
              'qformer_config': {'vocab_size': V, 'use_qformer_text_input': stage == 1},
              'architectures': ['Blip2ForImageTextRetrieval' if stage == 1 else 'Blip2ForConditionalGeneration']}
    tensors = {'none': torch.zeros(1)}
    if stage == 2:
        from transformers import OPTConfig, OPTForCausalLM
        opt = OPTForCausalLM(OPTConfig())  # the defaults are those of 125m
        opt.save_pretrained(d / 'opt')
        config['text_config'] = {'model_type': 'opt', 'vocab_size': opt.config.vocab_size}
        tensors.update({'language_model.' + k: v for k, v in opt.state_dict().items() if k != 'lm_head.weight'})
    (d / 'config.json').write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in tensors.items()}, d / 'model.safetensors')


class Trainer:
    """A process that makes a step when it is told to."""
    def __init__(self, *command):
        self.p = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.steps = []

    def step(self):
        self.p.stdin.write('\n')
        self.p.stdin.flush()
        self.steps.append(json.loads(self.p.stdout.readline()))

    def end(self):
        """Median seconds of all but the first, CPU seconds, and the most memory."""
        self.p.stdin.close()
        self.p.wait()
        later = self.steps[1:] or self.steps
        return [statistics.median(s[k] for s in later) for k in ('wall', 'cpu')] + [self.steps[-1]['mib']]


def ours(d, stage, pairs, threads, words):
    return Trainer('build/tests/bench/train', d, stage, pairs, threads, words)


def compare(d, stage, threads, words, rounds):
    both = [ours(d, stage, B, threads, words),
            Trainer(sys.executable, __file__, '--serve', d / 'opt', '--stage', stage, '--threads', threads, '--words', words)]
    for _ in range(rounds + 1):
        for trainer in both:
            trainer.step()
    a, b = (trainer.end() for trainer in both)
    row = f'{stage:5} {threads:7}'
    for wall, cpu, mib in (a, b):
        row += f' {B / wall:9.3f} {wall:7.2f} {cpu:7.2f} {mib:7}'
    print(f'{row} {b[0] / a[0]:6.2f} {a[2] / b[2]:6.2f}', flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--stage', type=int, nargs='+', default=[1, 2], choices=[1, 2])
    p.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    p.add_argument('--words', type=int, default=12, help='word pieces of a text, of 32 (12)')
    p.add_argument('--rounds', type=int, default=3, help='steps that count (3)')
    p.add_argument('--batch', type=int, help='memory of a step of so many pairs')
    p.add_argument('--serve', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve:
        return serve_torch(a.stage[0], a.threads[0], a.words, a.serve)
    if not a.batch:
        print(f'{"":13} {"vqatools":^33} {"PyTorch " + torch.__version__.split("+")[0]:^33} {"ratio of":^13}\n'
              f'stage threads {"samples/s  s/step   CPU s     MiB " * 2}speed memory')
    for stage in a.stage:
        with tempfile.TemporaryDirectory() as d:
            make_model(Path(d), stage)
            for threads in a.threads:
                if not a.batch:
                    compare(Path(d), stage, threads, a.words, a.rounds)
                    continue
                one = ours(d, stage, a.batch, threads, a.words)
                one.step()
                wall, cpu, mib = one.end()
                print(f'stage {stage}, {a.batch} pairs: {wall:.0f} s, {cpu:.0f} CPU s, {mib} MiB', flush=True)


if __name__ == '__main__':
    main()
