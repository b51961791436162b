"""Pre-train a small BERT, fine-tune it beside an untrained one, and make sentence embeddings.

    python examples/bert.py sst2
    python examples/bert.py sst2 --text corpus.txt.gz --epochs 3

The folder has the files train.tsv, dev.tsv and test.tsv, with a sentence and its label in each
line, separated by a tab. SST-2, reviews of films that are good or bad, is a set of GLUE, and
TFDS has it as `glue/sst2`. A BERT of 3 blocks first learns to fill in hidden words of the sentences
(MaskedLM), and with `--text` also of the lines of other files, for which no labels are needed. Then

- it is fine-tuned on the labels, beside the same network with random weights;
- SimCSE makes it an encoder of sentences. Alignment and uniformity, less of which is better, and a
  linear classifier tell what it has changed.

It needs `pip install 'keras-ssl[text]'`. It writes curves, a map of the embeddings, what the model
fills in, and files with each model and its vocabulary. A run that was killed in pre-training goes
on when it is started again with the same arguments. BERT itself, on the GPUs of one machine:

    python examples/bert.py sst2 --text wikipedia.txt --size 768 12 12 --vocabulary 30522 \
        --length 128 --batch-size 256 --epochs 3 --learning-rate 1e-4 --warmup 10000 \
        --fine-tuning-rate 3e-5 --strategy mirrored --precision mixed_bfloat16
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
import tensorflow as tf

from keras_ssl import (
    callbacks,
    distribute,
    evaluate,
    networks,
    optimizers,
    text,
    trainers,
    visualize,
)

parser = argparse.ArgumentParser(
    description="BERT, from hidden words to sentence embeddings.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("data", type=Path, nargs="?", help="folder of train.tsv, dev.tsv and test.tsv")
add("--text", type=Path, nargs="*", default=[], help="files of lines to pre-train on as well")
add("--vocabulary", type=int, default=6000, help="tokens")
add("--length", type=int, default=40, help="tokens of a sentence; longer ones are cut")
add("--size", type=int, nargs=3, default=[128, 3, 4], help="width, blocks and heads")
add("--batch-size", type=int, default=64, help="sentences, over all replicas")
add("--epochs", type=int, default=20, help="of pre-training")
add("--learning-rate", type=float, default=1e-3, help="of pre-training")
add("--warmup", type=int, default=200, help="steps of pre-training")
add("--mask-ratio", type=float, default=0.15)
add("--fine-tuning-epochs", type=int, default=5)
add("--fine-tuning-rate", type=float, default=3e-4)
add("--simcse-epochs", type=int, default=2)
add("--simcse-rate", type=float, default=1e-4)
runs.add_run_arguments(parser, "runs/bert")
arguments = parser.parse_args()


def make_encoder(weights: list | None = None) -> networks.BERT:
    """Return an encoder with random weights, or with given ones."""
    encoder = networks.bert(
        tuple(arguments.size),
        tokenizer.vocabulary_size,
        max_length=arguments.length,
        pooling="mean",
        seed=arguments.seed,
    )
    if weights is not None:
        encoder.set_weights(weights)
    return encoder


def make_batches(texts: list[str], shuffle: bool = False, **kwargs: object) -> tf.data.Dataset:
    """Return batches of token ids; shuffled ones are all full."""
    return text.batches(
        texts,
        tokenizer,
        arguments.length,
        arguments.batch_size,
        shuffle=shuffle,
        drop_remainder=shuffle,
        seed=arguments.seed,
        **kwargs,
    )


def adam(rate: float, steps: int, warmup: int) -> keras.optimizers.Optimizer:
    """Return AdamW with a warm-up."""
    schedule = text_runs.warm_up_and_cosine(rate, steps, warmup)
    return keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)


def fine_tune(encoder: networks.BERT) -> tuple[keras.Model, dict[str, list[float]]]:
    """Train a classifier on the labels; keep the weights of the best epoch on the dev part."""
    train, dev = (
        make_batches(texts, labels=labels, shuffle=part == "train")
        for part, (texts, labels) in list(sentences.items())[:2]
    )
    classes = int(sentences["train"][1].max()) + 1
    model = networks.SentenceClassifier(encoder, classes, seed=arguments.seed)
    steps = arguments.fine_tuning_epochs * len(train)
    optimizer = adam(arguments.fine_tuning_rate, steps, steps // 10)
    optimizer.exclude_from_weight_decay(var_names=[optimizers.NO_WEIGHT_DECAY])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    best = keras.callbacks.EarlyStopping(
        "val_accuracy",
        mode="max",
        patience=arguments.fine_tuning_epochs,
        restore_best_weights=True,
    )
    history = model.fit(
        train, validation_data=dev, epochs=arguments.fine_tuning_epochs, callbacks=[best]
    )
    return model, history.history


def measure_embeddings(name: str, encoder: networks.BERT) -> dict[str, object]:
    """Return what embeddings of the test sentences are worth."""
    # in training there is dropout, which makes other features of a sentence each time
    noisy = tf.function(lambda x: encoder(x, training=True), reduce_retracing=True)

    def features(texts: list[str], encode: Callable = encoder) -> np.ndarray:
        return evaluate.extract_features(encode, make_batches(texts))[0]

    texts = sentences["test"][0]
    long = [one.split() for one in texts if len(one.split()) >= 4]
    halves = [
        [" ".join(words[: len(words) // 2]) for words in long],
        [" ".join(words[len(words) // 2 :]) for words in long],
    ]
    labelled = (
        make_batches(sentences[part][0], labels=sentences[part][1]) for part in ("train", "test")
    )
    found = {
        "alignment, dropout": evaluate.alignment(features(texts, noisy), features(texts, noisy)),
        "alignment, halves": evaluate.alignment(*map(features, halves)),
        "uniformity": evaluate.uniformity(features(texts)),
        "linear classifier": evaluate.linear_probe(encoder, *labelled),
    }
    return {"embeddings": name, **{key: round(value, 4) for key, value in found.items()}}


def fill_in(trainer: trainers.MaskedLM, texts: list[str]) -> list[str]:
    """Hide the longest word of each text; return the texts and what the model finds likely."""
    lines = []
    for one in texts:
        words = one.split()
        hidden = max(words, key=len)
        words[words.index(hidden)] = "[MASK]"
        batch = tokenizer([" ".join(words)], arguments.length)
        tokens = trainer.encoder.encode(batch)["tokens"]
        (places,) = np.nonzero(batch["token_ids"][0] == tokenizer.mask_token_id)
        if len(places):
            logits = trainer.logits_of(trainer.transform(tokens))[0, places[0]]
            likely = np.argsort(-np.asarray(logits))[:5]
            found = ", ".join(tokenizer.vocabulary[number] for number in likely)
            lines.append(f"{' '.join(words)}\n    it was: {hidden}; likely: {found}\n")
    return lines


strategy = runs.start(arguments)
output = arguments.output

# Data: token ids, by one vocabulary of all that may be read without labels
sentences = text_runs.read_sentences(parser, arguments.data)
corpus = [*sentences["train"][0], *(text.Lines(*arguments.text) if arguments.text else ())]
tokenizer = text.Tokenizer.word_piece(corpus, arguments.vocabulary)
print({part: len(texts) for part, (texts, _) in sentences.items()}, f"{len(corpus):,} texts in all")
if len(sentences["train"][0]) < arguments.batch_size:
    parser.error(f"--batch-size {arguments.batch_size} is larger than the training set")
batches = make_batches(corpus, shuffle=True)

# Method: hidden words are predicted from the others
with strategy.scope():
    trainer = trainers.MaskedLM(
        make_encoder(),
        mask_token_id=tokenizer.mask_token_id,
        special_token_ids=tokenizer.special_token_ids,
        word_starts=tokenizer.word_starts,
        mask_ratio=arguments.mask_ratio,
        seed=arguments.seed,
    )
    trainer.compile(
        adam(arguments.learning_rate, arguments.epochs * len(batches), arguments.warmup),
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    trainer.encoder.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    validation_data=make_batches(sentences["dev"][0]),
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: a classifier, and sentence embeddings
if distribute.is_chief(strategy):
    learned = trainer.encoder.get_weights()
    visualize.plot_history(history, path=output / "pretraining.png")
    filled = fill_in(trainer, sentences["test"][0][:10])
    (output / "filled_in.txt").write_text("\n".join(filled), encoding="utf-8")

    test = make_batches(sentences["test"][0], labels=sentences["test"][1])
    classifiers, curves = [], {}
    for name, weights in (("random", None), ("pre-trained", learned)):
        model, found = fine_tune(make_encoder(weights))
        accuracy = model.evaluate(test, verbose=0, return_dict=True)["accuracy"]
        classifiers.append({"fine-tuned from": name, "test accuracy": round(accuracy, 4)})
        curves |= {f"{name} accuracy": found["accuracy"]}
        curves |= {f"val_{name} accuracy": found["val_accuracy"]}
    text.TextModel(model, tokenizer, arguments.length).save(output / "classifier.keras")
    visualize.plot_history(curves, path=output / "fine_tuning.png")

    embeddings = [measure_embeddings("MaskedLM", make_encoder(learned))]
    simcse = trainers.SimCSE(make_encoder(learned))
    steps = arguments.simcse_epochs * len(batches)
    simcse.compile(adam(arguments.simcse_rate, steps, steps // 10))
    simcse.fit(batches, epochs=arguments.simcse_epochs)
    embeddings.append(measure_embeddings("and SimCSE", simcse.encoder))
    text.TextModel(simcse.encoder, tokenizer, arguments.length).save(output / "encoder.keras")
    features, labels = evaluate.extract_features(simcse.encoder, test)
    visualize.plot_embedding(features, labels, path=output / "embedding.png")

    report = {
        "perplexity of hidden tokens": evaluate.perplexity(
            trainer, make_batches(sentences["dev"][0])
        ),
        "classifiers": classifiers,
        "embeddings": embeddings,
    }
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print("\n".join(filled))
    print(runs.table(classifiers))
    print(
        runs.table(
            [
                {k: v if k == "embeddings" else round(v, 4) for k, v in row.items()}
                for row in embeddings
            ]
        )
    )
    print(f"The models, pictures and report are in {output.resolve()}")
