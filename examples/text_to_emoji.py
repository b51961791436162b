"""Draw emoji from texts: latent diffusion told by a text tower that CLIP has trained.

    python examples/text_to_emoji.py emoji
    python examples/text_to_emoji.py --prompt "a smiling cat"

The folder is that of examples/caption_emoji.py: `emoji.tsv`, of which `name_en`, `tags_en` and
`group` are read, and a file such as `google.npz` of each vendor. Four networks learn, one after the
other:

- The judge, a classifier of names, learns the drawings of the vendor `--judge` alone, all names.
  It is there to measure with, and no other network sees its vendor.
- CLIP learns which drawing belongs to which text, a name and some of its tags.
- An autoencoder makes latents of drawings.
- Diffusion learns to make latents, told the text by its vector in the space of CLIP, which is near
  those of drawings that fit it, and the drawing's vendor, its style, by a label. With `--tokens`,
  it is told the tokens of the text tower in place of that vector.

Drawings are centered and brought to one size first, since vendors leave other margins.

`--names-held-out` names are chosen at random, and nothing but the judge sees any drawing of theirs.
Then they are drawn in the style `--style`, and the judge ranks all names for each sample. The table
says for how many samples the name that was asked for is among the first tenth, which is one tenth
by chance. Beside the samples stand the real drawings by the vendor of the style, which bound what
the judge can recognise in another vendor's drawings; samples of shuffled texts, which are chance;
and the drawing to learn from whose text is nearest to the one that was asked for. Names whose
drawings by the judge's vendor are equal to the byte count as one.

It takes minutes on two cores. It writes the trainer, CLIP and its text tower, which
examples/search_images.py takes, samples beside real drawings, curves and a report. With `--prompt`
it draws a sheet for any text with the trainer in `--output`. A run that was killed goes on when it
is started again with the same arguments.
"""

import argparse
import json
import shutil
from pathlib import Path

import _runs as runs
import keras
import numpy as np
import tensorflow as tf
from _emoji import (
    check_vendor,
    drawings_of,
    equal_drawings,
    framed,
    read_emoji,
    resized,
    tags_of,
)
from _text_runs import warm_up_and_cosine

from keras_ssl import augment, callbacks, distribute, networks, samplers, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="Emoji from texts, by latent diffusion.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("data", type=Path, nargs="?", help="folder of emoji.tsv and one .npz of each vendor")
add("--prompt", help="draw a sheet of this text with what an earlier run has learned")
add("--judge", default="twitter", help="vendor whose drawings the judge alone learns")
add("--style", default="google", help="vendor in whose style is drawn")
add("--names-held-out", type=int, default=200, help="names that only the judge learns")
add("--flags", action="store_true", help="keep the group `flags`, whose drawings look alike")
add("--size", type=int, default=32, help="height and width that drawings are brought to")
add("--batch-size", type=int, default=64, help="drawings, over all replicas")
add("--judge-widths", type=int, nargs="+", default=[32, 64, 128])
add("--judge-epochs", type=int, default=70)
add("--words", type=int, default=2000, help="size of the vocabulary")
add("--length", type=int, default=16, help="tokens of a text")
add("--text", nargs=3, type=int, default=[64, 2, 4], help="width, blocks and heads of the tower")
add("--clip-widths", type=int, nargs="+", default=[32, 64, 128])
add("--space", type=int, default=128, help="width of the space of drawings and texts")
add("--clip-epochs", type=int, default=60)
add("--clip-batch-size", type=int, default=256)
add("--autoencoder-widths", type=int, nargs="+", default=[32, 64, 96], help="a halving each")
add("--latent-channels", type=int, default=16)
add("--autoencoder-epochs", type=int, default=15)
add("--widths", type=int, nargs="+", default=[96], help="channels of the denoiser's levels")
add("--blocks", type=int, default=1, help="residual blocks of a level")
add("--prediction", choices=["epsilon", "x0", "v"], default="v")
add("--min-snr", type=float, default=5.0, help="weighting of times by min-SNR; 0 for none")
add("--tokens", action="store_true", help="tell the denoiser the tokens of a text")
add("--train-text", action="store_true", help="train what it is told with the denoiser")
add("--epochs", type=int, default=60, help="of diffusion")
add("--learning-rate", type=float, default=1e-3, help="of diffusion")
add("--ema", type=float, default=0.995, help="momentum of the averaged weights")
add("--steps", type=int, default=20, help="steps of the sampler")
add("--guidance", type=float, nargs="+", default=[1.0, 4.0], help="the last one draws the pictures")
add("--samples", type=int, default=2, help="samples of each name held out")
add("--shown", type=int, default=12, help="names in the picture, and drawings of a prompt")
runs.add_run_arguments(parser, "runs/text_to_emoji")
arguments = parser.parse_args()

VARIANTS = 16  # texts of a name


def describe(name: str, tags: list[str], random: np.random.Generator, variant: int) -> str:
    """Return a text of a name: with all its tags, alone, or with or of some of its tags."""
    if variant == 0:
        return " ".join([name, *tags])
    if variant == 1:
        return name
    some = random.permutation(tags)[: random.integers(1, len(tags) + 1)].tolist()
    return " ".join([name, *some] if random.random() < 0.7 else some)


def text_inputs(texts: list[str]) -> dict[str, np.ndarray]:
    """Return texts as networks take them, `-` between words read as a space."""
    texts = [one.replace("-", " ") for one in texts]
    return tokenizer(texts, arguments.length, segment_ids=False)


def condition(text: dict) -> dict:
    """Return token ids, and which are no padding, as the denoiser takes them."""
    mask = {"tokens_mask": text["padding_mask"]} if arguments.tokens else {}
    return {"tokens": text["token_ids"], **mask}


def sampled(texts: list[str], guidance: float) -> np.ndarray:
    """Return a drawing for each text."""
    return trainer.sample(
        steps=arguments.steps,
        sampler=samplers.DPMSolverPlusPlus2M(),
        guidance_scale=guidance,
        seed=arguments.seed,
        label=style,
        **condition(text_inputs(texts)),
    )


strategy = runs.start(arguments)
output = arguments.output

if arguments.prompt:
    if not (output / "trainer.keras").is_file():
        parser.error(f"--prompt needs what a run has learned; there is none in {output}")
    trainer = keras.saving.load_model(output / "trainer.keras")
    tower = keras.saving.load_model(output / "text_tower.keras")
    tokenizer, arguments.length = tower.tokenizer, tower.length
    report = json.loads((output / "report.json").read_text())
    vendors, arguments.tokens = report["vendors"], report["tokens"]
    if arguments.style not in vendors:
        parser.error(f"--style {arguments.style} must be one of {vendors}")
    style = vendors.index(arguments.style)
    sheet = sampled([arguments.prompt] * arguments.shown, arguments.guidance[-1])
    visualize.plot_samples(sheet, columns=4, path=output / "prompt.png")
    print(f"{arguments.shown} drawings of {arguments.prompt!r} are in {output / 'prompt.png'}")
    raise SystemExit

# Data: drawings and texts of all vendors but the judge's, without the names held out
emoji = framed(read_emoji(parser, arguments.data, ("name_en", "tags_en"), arguments.flags))
check_vendor(parser, emoji, "--judge", arguments.judge)
vendors = [one for one in emoji.images if one != arguments.judge]
check_vendor(parser, emoji, "--style", arguments.style)
if arguments.style not in vendors:
    parser.error(f"--style {arguments.style} must be one of {vendors}, of which diffusion learns")
style = vendors.index(arguments.style)
random = np.random.default_rng(arguments.seed)
names, tags = emoji.columns["name_en"], tags_of(emoji)
can_be_asked = np.flatnonzero(emoji.present[arguments.judge] & emoji.present[arguments.style])
if not 0 < arguments.names_held_out < len(can_be_asked):
    parser.error(f"--names-held-out must be from 1 to {len(can_be_asked) - 1}")
asked = np.sort(random.permutation(can_be_asked)[: arguments.names_held_out])

known, rows, styles = [], [], []
for number, vendor in enumerate(vendors):
    images, own = drawings_of(emoji, [vendor])
    same = equal_drawings(images)
    # nor is a drawing learned that is equal to one of another name that is held out
    kept = ~np.isin(same, same[np.isin(own, asked)])
    known.append(resized(images[kept], arguments.size))
    rows.append(own[kept])
    styles.append(np.full(np.sum(kept), number, "int32"))
known, rows, styles = (np.concatenate(one) for one in (known, rows, styles))
known_rows, index = np.unique(rows, return_inverse=True)
texts = [
    describe(names[row], tags[row], random, variant)
    for row in known_rows
    for variant in range(VARIANTS)
]
tokenizer = text.VocabularyTokenizer.words(
    [one.replace("-", " ") for one in texts[::VARIANTS]], arguments.words
)
ids = {
    name: one.reshape(len(known_rows), VARIANTS, arguments.length)
    for name, one in text_inputs(texts).items()
}
print({"to learn from": len(known), "names": len(known_rows), "held out": len(asked)})


def batches(batch_size: int) -> tf.data.Dataset:
    """Return shuffled batches of drawings, a text of each at random, vendors and names."""
    tables = {name: tf.constant(one) for name, one in ids.items()}
    draws = tf.data.Dataset.random(arguments.seed, rerandomize_each_iteration=True)

    def with_text(example: tuple, draw: tf.Tensor) -> tuple[tf.Tensor, dict, tf.Tensor, tf.Tensor]:
        image, style, row = example
        text = {name: one[row, draw % VARIANTS] for name, one in tables.items()}
        return image, text, style, row

    examples = (known.astype("float32"), styles, index.astype("int64"))
    return (
        tf.data.Dataset.zip(
            tf.data.Dataset.from_tensor_slices(examples).shuffle(len(known), arguments.seed), draws
        )
        .map(with_text)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def adam(steps: int, rate: float = 2e-3) -> keras.optimizers.Optimizer:
    """Return AdamW whose learning rate rises and falls over the steps of a training."""
    return keras.optimizers.AdamW(
        warm_up_and_cosine(rate, steps, 100), weight_decay=1e-3, global_clipnorm=1.0
    )


def backup(name: str) -> list[keras.callbacks.Callback]:
    """Return the callback that resumes one of the trainings, or skips it if it has ended."""
    return [callbacks.BackupAndResume(output / f"backup_{name}")]


if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
shape = (arguments.size, arguments.size, 3)


class Classifier(trainers.DistributedFit, keras.Model):
    """A functional classifier that trains under every strategy."""


# Judge: a drawing of its vendor to its name, of which it sees crops in other colors
images, judged_rows = drawings_of(emoji, [arguments.judge])
classes = equal_drawings(images)
class_of = dict(zip(judged_rows.tolist(), classes.tolist(), strict=True))
class_count = int(classes.max()) + 1
with strategy.scope():
    inputs = keras.Input(shape)
    views = augment.FusedPipeline(
        [
            augment.RandomResizedCrop(arguments.size, scale=(0.6, 1.0), ratio=(0.75, 1.33)),
            augment.ColorJitter(0.4, 0.4, 0.4, hue=0.1),
        ]
    )
    h = keras.layers.Rescaling(1 / 127.5, -1)(views(inputs))
    h = networks.conv_encoder(shape, arguments.judge_widths, features=256)(h)
    h = keras.layers.Dropout(0.3, seed=arguments.seed)(keras.layers.Activation("silu")(h))
    judge = Classifier(inputs, keras.layers.Dense(class_count)(h), name="judge")
    data = tf.data.Dataset.from_tensor_slices((resized(images, arguments.size), classes))
    data = data.shuffle(len(images), arguments.seed).batch(arguments.batch_size)
    data = data.map(lambda x, y: (tf.cast(x, "float32"), y)).prefetch(tf.data.AUTOTUNE)
    judge.compile(
        adam(arguments.judge_epochs * len(data)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
judge.fit(data, epochs=arguments.judge_epochs, callbacks=backup("judge"), verbose=2)

# CLIP: which drawing belongs to which text
with strategy.scope():
    views = augment.FusedPipeline(
        [
            augment.RandomResizedCrop(arguments.size, scale=(0.7, 1.0), ratio=(0.8, 1.25)),
            augment.ColorJitter(0.2, 0.2, 0.2, hue=0.05),
        ]
    )
    inputs = keras.Input(shape)
    h = networks.conv_encoder(shape, arguments.clip_widths, channels=64)(
        keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    )
    h = keras.layers.Flatten()(h)
    text_encoder = networks.text_transformer(
        tuple(arguments.text),
        tokenizer.vocabulary_size,
        max_length=arguments.length,
        pooling="mean",
        seed=arguments.seed,
    )
    clip = trainers.CLIP(keras.Model(inputs, h), text_encoder, arguments.space, augment=views)
    pairs = batches(min(arguments.clip_batch_size, len(known))).map(
        lambda image, text, _, row: {"image": image, "text": text, "group_ids": row}
    )
    clip.compile(adam(arguments.clip_epochs * len(pairs), 1e-3))
clip.fit(pairs, epochs=arguments.clip_epochs, callbacks=backup("clip"), verbose=2)
text_tower = clip.tower("text")
told_by = text_encoder
if not arguments.tokens:  # one token, the vector of the text; unlike it, of unit variance
    with strategy.scope():
        inputs = keras.Input((arguments.length,), dtype="int32")
        is_token = keras.ops.not_equal(inputs, tokenizer.pad_token_id)
        h = text_tower({"token_ids": inputs, "padding_mask": is_token})
        h = keras.layers.Rescaling(arguments.space**0.5)(h)
        told_by = keras.Model(inputs, keras.layers.Reshape((1, -1))(h), name="text_vector")
told_by.trainable = arguments.train_text

# Autoencoder: drawings to latents and back
with strategy.scope():
    widths, channels = arguments.autoencoder_widths, arguments.latent_channels
    encoder = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            networks.conv_encoder(shape, widths, channels=channels),
        ],
        name="latent_encoder",
    )
    latent_shape = encoder.output_shape[1:]
    decoder = keras.Sequential(
        [
            keras.Input(latent_shape),
            networks.conv_decoder(shape, widths, channels=channels, activation="tanh"),
            keras.layers.Rescaling(127.5, offset=127.5),
        ],
        name="latent_decoder",
    )
    autoencoder = trainers.Autoencoder(encoder, decoder, loss="mean_absolute_error")
    alone = batches(arguments.batch_size).map(lambda image, *_: image)
    autoencoder.compile(adam(arguments.autoencoder_epochs * len(alone)))
autoencoder.fit(
    alone, epochs=arguments.autoencoder_epochs, callbacks=backup("autoencoder"), verbose=2
)

# Diffusion: latents from noise, told the text and the vendor
with strategy.scope():
    denoiser = networks.diffusion_unet(
        latent_shape,
        arguments.widths,
        arguments.blocks,
        attention_levels=range(len(arguments.widths)),
        num_classes=len(vendors),
        token_dim=arguments.text[0] if arguments.tokens else arguments.space,
        tokens_mask=arguments.tokens,
    )
    trainer = trainers.LatentDiffusion(
        networks.text_conditioned(denoiser, told_by),
        encoder,
        decoder,
        samplers.NoiseSchedule("cosine"),
        arguments.prediction,
        num_classes=len(vendors),
        min_snr_gamma=arguments.min_snr or None,
        ema_momentum=arguments.ema,
        seed=arguments.seed,
    )
    told = batches(arguments.batch_size).map(
        lambda image, text, style, _: ({"x": image, **condition(text)}, style)
    )
    trainer.compile(adam(arguments.epochs * len(told), arguments.learning_rate))
history = trainer.fit(told, epochs=arguments.epochs, callbacks=backup("diffusion"), verbose=2)

# Product: drawings of the names held out, and what the judge sees in them
if distribute.is_chief(strategy):
    trainer.save(output / "trainer.keras")
    clip.save(output / "clip.keras")
    visualize.plot_history(history, path=output / "curves.png")

    def judged(name: str, images: np.ndarray, rows: np.ndarray) -> dict:
        """Return how the judge ranks the names that were asked for."""
        logits = judge.predict(images.astype("float32"), verbose=0)
        wanted = logits[np.arange(len(rows)), [class_of[row] for row in rows.tolist()]]
        ranks = np.sum(logits > wanted[:, None], axis=1)  # 0 for the first
        return {
            "drawings": name,
            "in the first tenth": f"{100 * np.mean(ranks < class_count / 10):.1f} %",
            "median rank": f"{1 + np.median(ranks):g} of {class_count}",
            "first": f"{100 * np.mean(ranks == 0):.1f} %",
        }

    asked_texts = [describe(names[row], tags[row], random, 0) for row in asked]
    real = resized(emoji.images[arguments.style][asked], arguments.size)
    table = [judged(f"real, by {arguments.style}", real, asked)]
    decoded = np.asarray(trainer.from_space(trainer.to_space(real.astype("float32"))))
    table.append(judged("real, by the autoencoder", decoded, asked))
    many = np.tile(asked, arguments.samples)
    for guidance in arguments.guidance:
        made = sampled(asked_texts * arguments.samples, guidance)
        table.append(judged(f"samples, guidance {guidance:g}", made, many))
    shuffled = np.tile(np.roll(asked, len(asked) // 2), arguments.samples)
    table.append(judged("samples for another text", made, shuffled))

    # the drawing in the same style whose text is nearest, by the text tower of CLIP
    def vectors(texts: list[str]) -> np.ndarray:
        """Return vectors of texts in the space of CLIP."""
        return text_tower.predict(text_inputs(texts), verbose=0)

    in_style = np.flatnonzero(styles == style)
    near = vectors(asked_texts) @ vectors(texts[::VARIANTS])[index[in_style]].T
    found = known[in_style[np.argmax(near, axis=1)]]
    table.append(judged("to learn from, of the nearest text", found, asked))
    text.TextModel(text_tower, tokenizer, arguments.length).save(output / "text_tower.keras")

    report = {
        "vendors": vendors,
        "tokens": arguments.tokens,
        "names held out": names[asked].tolist(),
        "drawings": table,
    }
    (output / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False))
    shown = random.permutation(len(asked))[: arguments.shown]
    pictures = [found[shown], *made.reshape(arguments.samples, len(asked), *shape)[:, shown]]
    titles = ["nearest text", *[f"sample {n + 1}" for n in range(arguments.samples)]]
    visualize.plot_views(real[shown], pictures, titles=titles, path=output / "samples.png")
    print("\n".join(f"{n + 1}: {one}" for n, one in enumerate(names[asked[shown]])))
    for name in ("judge", "clip", "autoencoder", "diffusion"):
        shutil.rmtree(output / f"backup_{name}")
    print(runs.table(table))
    print(f"The trainer, pictures and report are in {output.resolve()}")
