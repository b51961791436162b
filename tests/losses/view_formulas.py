"""The papers' formulas of losses over views' scores and maps, one term at a time, in float64."""

import numpy as np


def softmax(scores, temperature=1.0):
    shifted = scores / temperature - np.max(scores / temperature, axis=1, keepdims=True)
    return np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)


def cross_entropy(target, prediction):
    return np.array([-sum(q * np.log(p)) for q, p in zip(target, prediction, strict=True)])


def sinkhorn_knopp(scores, epsilon=0.05, iterations=3, queue=None):
    rows = scores if queue is None else np.concatenate([scores, queue])
    q = np.exp(np.asarray(rows, "float64") / epsilon).T
    q /= q.sum()
    for _ in range(iterations):
        q /= q.sum(axis=1, keepdims=True) * len(q)
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T[: len(scores)]


def swav(views, global_views=2, temperature=0.1, epsilon=0.05, iterations=3, codes=None):
    views = [np.asarray(view, "float64") for view in views]
    if codes is None:
        codes = [sinkhorn_knopp(view, epsilon, iterations) for view in views[:global_views]]
    values = np.zeros(len(views[0]))
    for g in range(global_views):
        for v in range(len(views)):
            if v != g:
                values += cross_entropy(codes[g], softmax(views[v], temperature))
    return values / (global_views * (len(views) - 1))


def dino(teacher, student, teacher_temperature=0.04, student_temperature=0.1):
    values, pairs = np.zeros(len(teacher[0])), 0
    for t, target in enumerate(teacher):
        for s, prediction in enumerate(student):
            if s != t:
                values += cross_entropy(
                    softmax(np.asarray(target, "float64"), teacher_temperature),
                    softmax(np.asarray(prediction, "float64"), student_temperature),
                )
                pairs += 1
    return values / pairs


def msn(target, anchors, temperature=0.1, sharpening=0.25, weight=1.0, iterations=0):
    sharp = softmax(np.asarray(target, "float64"), temperature) ** (1 / sharpening)
    sharp /= sharp.sum(axis=1, keepdims=True)
    if iterations:
        sharp = sinkhorn_knopp(np.log(sharp), 1.0, iterations)
    p = [softmax(np.asarray(anchor, "float64"), temperature) for anchor in anchors]
    mean = np.mean(np.concatenate(p), axis=0)
    entropy = -sum(mean * np.log(mean))
    values = np.mean([cross_entropy(sharp, one) for one in p], axis=0)
    return values + weight * (np.log(len(mean)) - entropy)


def jensen_shannon_mi(local, summary):
    """By the pair, as the paper's equation 4, over the places of maps."""
    local, summary = np.asarray(local, "float64"), np.asarray(summary, "float64")
    local = local.reshape(len(local), -1, local.shape[-1])
    values = []
    for i, places in enumerate(local):
        positive = np.mean([np.log(2) - np.logaddexp(0, -u @ summary[i]) for u in places])
        negative = np.mean(
            [
                np.logaddexp(0, u @ v) - np.log(2)
                for j, v in enumerate(summary)
                if j != i
                for u in places
            ]
        )
        values.append(negative - positive)
    return np.array(values)


def info_nce_mi(local, summary):
    """By the pair, with a softmax over one place of the own map and all places of the others."""
    local, summary = np.asarray(local, "float64"), np.asarray(summary, "float64")
    local = local.reshape(len(local), -1, local.shape[-1])
    values = []
    for i, v in enumerate(summary):
        others = np.sum([np.exp(u @ v) for j, m in enumerate(local) if j != i for u in m])
        own = [np.exp(u @ v) for u in local[i]]
        values.append(np.mean([-np.log(one / (one + others)) for one in own]))
    return np.array(values)


def pmsn(target, anchors, temperature=0.1, sharpening=0.25, weight=1.0, exponent=0.25):
    p = [softmax(np.asarray(anchor, "float64"), temperature) for anchor in anchors]
    mean = np.mean(np.concatenate(p), axis=0)
    prior = np.array([(k + 1) ** -exponent for k in range(len(mean))])
    prior /= prior.sum()
    divergence = sum(q * np.log(q / m) for q, m in zip(prior, mean, strict=True))
    return msn(target, anchors, temperature, sharpening, weight=0.0) + weight * divergence
