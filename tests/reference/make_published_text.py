"""Write what transformers computes with small random BERTs and GPT-2s to `published_text.json`.

    python tests/reference/make_published_text.py

Needs torch and transformers; made with transformers 5.24.0 and PyTorch 2.14.1. Weights are drawn
from their names by `draw` of `make_published_weights.py`, so that only their shapes are stored.
With the name of a folder that `keras_ssl.convert.to_hugging_face` has written, transformers reads
it instead, and the outputs are printed:

    python tests/reference/make_published_text.py --read FOLDER CASE
"""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("published_text.json")
BERT = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 7,
}
GPT2 = {"vocab_size": 11, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 7}
# name: class, configuration
CASES = {
    "bert": ("BertModel", BERT),
    "bert_masked": (
        "BertForMaskedLM",
        {
            **BERT,
            "hidden_size": 12,
            "num_attention_heads": 3,
            "num_hidden_layers": 1,
            "hidden_act": "relu",
            "layer_norm_eps": 0.01,
            "type_vocab_size": 3,
        },
    ),
    "bert_classifier": ("BertForSequenceClassification", {**BERT, "hidden_act": "gelu_new"}),
    "gpt2": ("GPT2Model", GPT2),
    "gpt2_language": (
        "GPT2LMHeadModel",
        {
            **GPT2,
            "n_embd": 12,
            "n_head": 3,
            "n_layer": 1,
            "n_inner": 20,
            "activation_function": "relu",
            "layer_norm_epsilon": 0.01,
        },
    ),
}


def draw():
    """Return the function that draws weights."""
    path = Path(__file__).with_name("make_published_weights.py")
    spec = importlib.util.spec_from_file_location("weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.draw


def draw_tokens(config):
    """Return token ids, a mask of padding and segments, each `(2, 6)`."""
    random = np.random.default_rng(0)
    ids = random.integers(0, config["vocab_size"], (2, 6))
    mask = np.arange(6) < np.array([[6], [4]])
    segments = random.integers(0, config.get("type_vocab_size", 2), (2, 6))
    return ids, mask, segments


def rounded(tensor):
    """Return a list of numbers with eight digits."""
    return [float(f"{number:.8g}") for number in tensor.numpy().ravel().tolist()]


def run_case(case, folder=None):
    """Return configuration, shapes of tensors, and outputs."""
    import tempfile

    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    kind, arguments = CASES[case]
    cls = getattr(transformers, kind)
    with tempfile.TemporaryDirectory() as work:
        cls(cls.config_class(**arguments)).save_pretrained(work)
        file = Path(work) / "model.safetensors"
        shapes = {name: list(one.shape) for name, one in sorted(load_file(file).items())}
        drawn = draw()
        tensors = {name: torch.tensor(drawn(name, shape)) for name, shape in shapes.items()}
        save_file(tensors, file, metadata={"format": "pt"})
        config = json.loads((Path(work) / "config.json").read_text())
        model = cls.from_pretrained(folder or work).eval()
    ids, mask, segments = (torch.tensor(one) for one in draw_tokens(config))
    inputs = {"input_ids": ids, "attention_mask": mask.long()}
    if config["model_type"] == "bert":
        inputs["token_type_ids"] = segments
    with torch.no_grad():
        base = getattr(model, model.base_model_prefix, model)
        found = base(**inputs, output_hidden_states=True)
        outputs = {"tokens": rounded(found.last_hidden_state)}
        if len(found.hidden_states) > 2:  # the last ones of GPT-2 are normalized
            outputs["first_block"] = rounded(found.hidden_states[1])
        if getattr(found, "pooler_output", None) is not None:
            outputs["pooled"] = rounded(found.pooler_output)
        if kind == "GPT2LMHeadModel":
            outputs["logits"] = rounded(model(**inputs).logits)
    return {"config": config, "shapes": shapes, "outputs": outputs}


def main():
    """Write the file, or read a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "CASE"))
    options = parser.parse_args()
    if options.read:
        folder, case = options.read
        print(json.dumps(run_case(case, folder)["outputs"]))
        return
    FILE.write_text(json.dumps({case: run_case(case) for case in CASES}) + "\n")


if __name__ == "__main__":
    main()
