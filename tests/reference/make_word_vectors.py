"""Make word_vectors.json: gensim's evaluation of stored vectors of words.

pip install gensim==4.4.0 scipy
python make_word_vectors.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np

WORDS, DIM = 40, 6


def main() -> None:
    """Write vectors, questions, and what gensim finds."""
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(WORDS)]
    # two groups of words that differ by about the same vector, so that some answers are right
    z = np.round(rng.normal(size=(WORDS, DIM)), 3)
    z[20:] = np.round(z[:20] + [2, 0, 0, 0, 0, 0] + 0.5 * rng.normal(size=(20, DIM)), 3)
    vectors = KeyedVectors(DIM)
    vectors.add_vectors(words, z.astype("float32"))
    pairs = [
        (f"w{a}", f"w{b}", round(float(rng.normal()), 3)) for a, b in rng.integers(0, 44, (30, 2))
    ]
    questions = {
        name: [
            (f"w{a}", f"w{a + 20}", f"w{b}", f"w{b + 20}")
            for a, b in rng.integers(0, size, (25, 2))
            if a != b
        ]
        for name, size in (("all known", 20), ("some unknown", 23))
    }
    with tempfile.TemporaryDirectory() as folder:
        pair_file, question_file = Path(folder, "pairs.tsv"), Path(folder, "questions.txt")
        pair_file.write_text("".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs))
        lines = []
        for name, asked in questions.items():
            lines += [f": {name}", *(" ".join(one) for one in asked)]
        question_file.write_text("\n".join(lines) + "\n")
        _, spearman, unknown = vectors.evaluate_word_pairs(str(pair_file))
        accuracy, sections = vectors.evaluate_word_analogies(str(question_file))
    stored = {
        "words": words,
        "z": z.tolist(),
        "pairs": pairs,
        "questions": questions,
        "spearman": float(spearman[0]),
        "out_of_vocabulary_percent": float(unknown),
        "accuracy": float(accuracy),
        "sections": {
            one["section"]: [len(one["correct"]), len(one["correct"]) + len(one["incorrect"])]
            for one in sections[:-1]
        },
    }
    Path(__file__).with_name("word_vectors.json").write_text(json.dumps(stored))


if __name__ == "__main__":
    main()
