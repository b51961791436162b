"""The peer of `benchmarks/word2vec.py`: gensim's Word2Vec."""

import gzip
import os
import tempfile
import time
from importlib.metadata import version

import numpy as np
from gensim.models import Word2Vec
from serve import serve

WORKERS = 2

state = {}


def prepare(
    corpus: str, lines: int | None, seed: int, dim: int, window: int, negative: int
) -> None:
    """Read the corpus and build the vocabulary."""
    with gzip.open(corpus, "rt") as file:
        state["documents"] = [line.split() for line in file.read().splitlines()[:lines]]
    model = Word2Vec(
        sg=1,
        hs=0,
        negative=negative,
        vector_size=dim,
        window=window,
        min_count=5,
        workers=WORKERS,
        seed=seed,
    )
    model.build_vocab(state["documents"])
    state["model"] = model


def epoch(rates: list[float]) -> dict[str, float]:
    """Train for an epoch whose learning rate falls from one rate to another; its seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    state["model"].train(
        state["documents"],
        total_examples=len(state["documents"]),
        epochs=1,
        start_alpha=rates[0],
        end_alpha=rates[1],
    )
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def vectors() -> str:
    """Store vectors and words, and return the path of the file."""
    handle, path = tempfile.mkstemp(suffix=".npz")
    os.close(handle)
    np.savez(path, z=state["model"].wv.vectors, words=np.array(state["model"].wv.index_to_key))
    return path


def versions() -> dict[str, str]:
    """The versions of what is being compared with."""
    return {"gensim": version("gensim")}


serve({"prepare": prepare, "epoch": epoch, "vectors": vectors, "versions": versions})
