"""Attention on a CPU: torch's fused kernel against the two products and the softmax written out, forward and with the backward pass.

    python bench/attention.py [--threads 1]

`undrift.nn.attend.attend` chooses by these figures. Medians of ten; milliseconds, and the ratio with the backward pass.
"""

import argparse
import time
from statistics import median

import torch
from torch.nn import functional as F


def written_out(q, k, v):
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1).to(v.dtype) @ v


def milliseconds(call, rounds=10):
    seen = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        call()
        seen.append(1e3 * (time.perf_counter() - start))
    return median(seen[2:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    print(
        "| dtype | batch, heads, tokens, width | fused | with backward | written out | with backward | ratio |\n"
        + "|---" * 7
        + "|"
    )
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((64, 2, 16, 32), (64, 4, 49, 32), (64, 4, 196, 64), (16, 4, 1024, 64)):
            q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
            row = []
            for attention in (F.scaled_dot_product_attention, written_out):

                def both(attention=attention, q=q, k=k, v=v):
                    out = attention(q, k, v)
                    out.backward(out.detach())

                with torch.no_grad():
                    row.append(milliseconds(lambda attention=attention, q=q, k=k, v=v: attention(q, k, v)))
                row.append(milliseconds(both))
            figures = " | ".join(f"{r:.2f}" for r in row)
            print(f"| {str(dtype)[6:]} | {', '.join(map(str, shape))} | {figures} | {row[1] / row[3]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
