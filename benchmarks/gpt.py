"""A small GPT on characters: the loss it reaches, a training step, and decoding with a cache.

The published setting of nanoGPT for processors: characters of tiny Shakespeare, 4 blocks of width
128 with 4 heads, a context of 64, batches of 12, 2,000 steps of AdamW (rate 1e-3, after 100 steps
of warm-up falling to 1e-4 along half a cosine; second momentum 0.99, decay 0.1 of matrices;
gradients clipped to norm 1), no dropout, no biases in dense layers. The first nine tenths of the
text are for training. Measured are:

- `loss`: of every character of the rest, in nats, after training;
- `step`: seconds of forward, backward and update, beside the same network in PyTorch with
  `scaled_dot_product_attention`, on a batch that lies ready;
- `decoding`: seconds for `--tokens` characters of 16 texts in a context of 512, with the cache, and
  by computing all of the text again for each character, timed for `--recomputed` of them.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay
from measure import Peer, interleave, medians, print_machine, print_ratio, print_table, timed

from keras_ssl import decoding, evaluate, networks, text, trainers
from keras_ssl.data._prepared import find_or_download

AIM_LOSS, AIM_STEP, AIM_DECODING = 1.90, 1.0, 5.0
CONTEXT, BATCH = 64, 12


def read_shakespeare() -> str:
    """Tiny Shakespeare, whole."""
    builder = find_or_download("tiny_shakespeare", None)
    parts = builder.as_dataset(split=["train", "validation", "test"])
    return b"".join(next(part.as_numpy_iterator())["text"] for part in parts).decode()


def make_network(vocabulary_size: int, context: int = CONTEXT) -> keras.Model:
    """The network of all measurements."""
    return networks.gpt2(
        (128, 4, 4),
        vocabulary_size,
        max_length=context,
        dropout_rate=0.0,
        attention_dropout_rate=0.0,
        use_bias=False,
    )


def make_trainer(vocabulary_size: int, steps: int, xla: bool) -> trainers.CausalLM:
    """The trainer, compiled with nanoGPT's optimizer."""
    trainer = trainers.CausalLM(make_network(vocabulary_size))
    warmup = min(100, steps // 2)
    rate = CosineDecay(
        0.0, max(1, steps - warmup), alpha=0.1, warmup_target=1e-3, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.1, beta_2=0.99, global_clipnorm=1.0)
    trainer.compile(optimizer, jit_compile=xla, exclude_from_weight_decay=("gamma", "beta"))
    return trainer


def measure_loss(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains, and returns the loss of the rest of the text."""
    whole = read_shakespeare()
    characters = text.VocabularyTokenizer.characters([whole])
    tokens = characters.encode(whole)
    cut = int(0.9 * len(tokens))
    keras.utils.set_random_seed(arguments.seed)
    trainer = make_trainer(characters.vocabulary_size, arguments.steps, arguments.xla)
    train = text.token_windows(
        tokens[:cut], CONTEXT + 1, BATCH, random=True, seed=arguments.seed, padding_mask=False
    )
    rest = text.token_windows(tokens[cut:], CONTEXT + 1, 64, stride=CONTEXT, drop_remainder=False)
    processor = time.process_time()
    trainer.fit(train.repeat(), steps_per_epoch=arguments.steps, epochs=1, verbose=2)
    return {
        "loss": math.log(evaluate.perplexity(trainer, rest)),
        "cpu_minutes": (time.process_time() - processor) / 60,
        "characters": len(tokens) - cut,
    }


def measure_step(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of a step, ours and PyTorch's, in turns."""
    vocabulary = 65
    ids = np.random.default_rng(0).integers(0, vocabulary, (BATCH, CONTEXT + 1)).astype("int32")
    batch = tf.constant(ids)
    names = {"keras_ssl": False, "keras_ssl, XLA": True}
    ours = {name: make_trainer(vocabulary, 2_000, xla) for name, xla in names.items()}

    def stepper(trainer: keras.Model) -> Any:
        return timed(lambda: trainer.train_on_batch(batch), arguments.steps_at_once)

    with Peer("gpt_torch.py", {"OMP_WAIT_POLICY": "PASSIVE"}) as peer:
        print_machine(peer)
        contenders = {name: stepper(trainer) for name, trainer in ours.items()}
        contenders["torch"] = lambda: peer.ask("seconds", steps=arguments.steps_at_once)
        for one in contenders.values():
            if one is not contenders["torch"]:
                one()
        count = peer.ask("set_up", vocabulary=vocabulary, context=CONTEXT, batch=BATCH)
        parameters = sum(math.prod(v.shape) for v in ours["keras_ssl"].trainable_variables)
        if count != parameters:
            raise RuntimeError(f"Not the same network: {parameters} and {count} parameters")
        measured = interleave(contenders, repeats=arguments.repeats, warmup=1)
    print(f"\none step, {BATCH} windows of {CONTEXT} characters, {parameters} parameters")
    print_table(medians(measured), per="torch")
    for name in names:
        print_ratio(measured, name, "torch", AIM_STEP)
    return measured


def measure_decoding(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds of greedy decoding with the cache, and without."""
    network = make_network(65, context=512)
    prompts = np.random.default_rng(0).integers(0, 65, (16, 512 - arguments.tokens)).astype("int32")
    padded = np.pad(prompts, ((0, 0), (0, arguments.tokens)))

    @tf.function
    def next_token(ids: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
        # tokens behind the place change nothing, as the network is causal
        features = network(ids, training=False)[:, place - 1]
        return tf.argmax(network.logits(features), axis=-1, output_type="int32")

    def recompute(count: int) -> np.ndarray:
        ids = tf.constant(padded)
        rows = tf.range(16)
        for place in range(prompts.shape[1], prompts.shape[1] + count):
            new = next_token(ids, tf.constant(place))
            where = tf.stack([rows, tf.fill([16], place)], axis=1)
            ids = tf.tensor_scatter_nd_update(ids, where, new)
        return ids.numpy()

    def cached(count: int) -> np.ndarray:
        return np.asarray(decoding.decode(network, prompts, count).token_ids)

    start = prompts.shape[1]
    few = min(arguments.recomputed, arguments.tokens)
    same = np.array_equal(
        recompute(few)[:, start : start + few], cached(arguments.tokens)[:, start : start + few]
    )
    seconds = {}
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    for name, run, count in (("cache", cached, arguments.tokens), ("recomputed", recompute, few)):
        begin = clock()
        run(count)
        seconds[name] = (clock() - begin) * arguments.tokens / count
    ratio = seconds["recomputed"] / seconds["cache"]
    met = "met" if ratio >= AIM_DECODING else "MISSED"
    print(f"\n{arguments.tokens} tokens of 16 texts in a context of 512; the same tokens: {same}")
    print(f"with the cache {seconds['cache']:.2f} s, without {seconds['recomputed']:.2f} s")
    print(f"from {few} tokens; {ratio:.1f} times as fast (aim: at least {AIM_DECODING:g}): {met}")
    return {**seconds, "same": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = {"loss": measure_loss, "step": measure_step, "decoding": measure_decoding}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--steps", type=int, default=2_000, help="of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--xla", action="store_true", help="train under XLA")
    parser.add_argument("--steps-at-once", type=int, default=10, help="in each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=256, help="to decode")
    parser.add_argument("--recomputed", type=int, default=16, help="of them, without a cache")
    parser.add_argument("--cpu-time", action="store_true", help="of decoding")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    report = {}
    for part in arguments.parts:
        report[part] = parts[part](arguments)
    if "loss" in report:
        found = report["loss"]["loss"]
        met = f"aim: at most {AIM_LOSS}: {'met' if found <= AIM_LOSS else 'MISSED'}"
        print(f"loss of {report['loss']['characters']:,} characters: {found:.4f} ({met})")
        print(f"CPU minutes of training and evaluation: {report['loss']['cpu_minutes']:.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
