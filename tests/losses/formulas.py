"""The papers' losses in float64 NumPy, one term at a time."""

import json
from pathlib import Path

import numpy as np

LIGHTLY = json.loads(
    (Path(__file__).parents[1] / "reference" / "embedding_losses.json").read_text()
)


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def dcl(z1, z2, temperature=0.1, sigma=None):
    """The values of all anchors; with sigma those of DCLW."""
    z1, z2 = normalized(z1), normalized(z2)
    z, n = np.concatenate([z1, z2]), len(z1)
    agreement = np.array([z1[m] @ z2[m] for m in range(n)])
    weights = np.ones(n)
    if sigma is not None:
        weights = 2 - np.exp(agreement / sigma) / np.mean(np.exp(agreement / sigma))
    values = []
    for i in range(2 * n):
        negatives = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k % n != i % n]
        positive = weights[i % n] * agreement[i % n] / temperature
        values.append(np.log(np.sum(negatives)) - positive)
    return np.array(values)


def negative_cosine_similarity(p, z):
    return np.array([-(a @ b) for a, b in zip(normalized(p), normalized(z), strict=True)])


def barlow_twins(z1, z2, weight=0.005):
    z1, z2 = np.asarray(z1, "float64"), np.asarray(z2, "float64")
    loss = 0
    for i in range(z1.shape[1]):
        for j in range(z1.shape[1]):
            a, b = z1[:, i], z2[:, j]
            covariance = np.mean((a - a.mean()) * (b - b.mean()))
            c = covariance / np.sqrt((a.var() + 1e-5) * (b.var() + 1e-5))
            loss += (1 - c) ** 2 if i == j else weight * c**2
    return loss


def vicreg_terms(z1, z2, epsilon=1e-4):
    views = [np.asarray(z, "float64") for z in (z1, z2)]
    d = z1.shape[1]
    variance = covariance = 0
    for z in views:
        matrix = np.cov(z, rowvar=False, ddof=1)
        variance += np.mean(np.maximum(0, 1 - np.sqrt(np.diag(matrix) + epsilon))) / 2
        covariance += sum(matrix[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    invariance = np.mean((views[0] - views[1]) ** 2)
    return {"invariance": invariance, "variance": variance, "covariance": covariance}


def vicreg(z1, z2, weights=(25, 25, 1)):
    return sum(w * term for w, term in zip(weights, vicreg_terms(z1, z2).values(), strict=True))


def sup_con(labels, z, temperature=0.1):
    """The values of all anchors; z is (n, dim) or (n, views, dim)."""
    z = normalized(z)
    shape = z.shape[:-1]
    classes = np.repeat(labels, shape[1]) if len(shape) == 2 else labels
    z = z.reshape(-1, z.shape[-1])
    values = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        total = np.sum([np.exp(z[i] @ z[k] / temperature) for k in others])
        logs = [
            np.log(np.exp(z[i] @ z[p] / temperature) / total)
            for p in others
            if classes[p] == classes[i]
        ]
        values.append(-np.mean(logs) if logs else 0.0)
    return np.reshape(values, shape)


def tico(z, targets, covariance, weight=8.0):
    """The values of all examples."""
    pairs = zip(normalized(z), normalized(targets), strict=True)
    return np.array([1 - a @ b + weight * a @ covariance @ a for a, b in pairs])


def frossl(views, weight=1.0):
    views = [np.asarray(z, "float64") for z in views]
    views = [z / np.linalg.norm(z, axis=0) for z in views]
    loss, mean = 0, np.mean(views, axis=0)
    for z in views:
        correlation = z.T @ z
        loss += np.log(np.linalg.norm(correlation / np.trace(correlation)) ** 2)
        loss += weight * len(views) * np.linalg.norm(z - mean) ** 2 / len(z)
    return loss


def w_mse(views, order=None, sub_batch=None, epsilon=0.0):
    views = [np.asarray(z, "float64") for z in views]
    order = np.arange(len(views[0])) if order is None else order
    values = []
    for part in np.split(order, len(order) // (sub_batch or len(order))):
        whitened = []
        for z in views:
            covariance = np.atleast_2d(np.cov(z[part], rowvar=False))
            covariance = (1 - epsilon) * covariance + epsilon * np.eye(len(covariance))
            inverse = np.linalg.inv(np.linalg.cholesky(covariance))
            whitened.append(normalized((z[part] - z[part].mean(axis=0)) @ inverse.T))
        for i, one in enumerate(whitened):
            values += [np.sum((one - other) ** 2, axis=1).mean() for other in whitened[:i]]
    return np.mean(values)


def sig_reg(views, directions, knots=17, t_max=3.0):
    directions = np.asarray(directions, "float64")
    directions = directions / np.linalg.norm(directions, axis=0)
    t = np.linspace(-t_max, t_max, 2 * knots - 1)
    values = []
    for z in views:
        for x in (np.asarray(z, "float64") @ directions).T:
            empirical = np.mean(np.exp(1j * np.outer(t, x)), axis=1)
            error = np.abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)
            values.append(len(x) * np.trapezoid(error, t))
    return np.mean(values)


def lejepa(views, directions, global_count=2, weight=0.05):
    z = np.asarray(views, "float64")
    invariance = np.mean((z - z[:global_count].mean(axis=0)) ** 2)
    return (1 - weight) * invariance + weight * sig_reg(z, directions)


def mmcr(views, weight=0.005):
    z = np.stack([normalized(view) for view in views], axis=1)
    local = np.mean([np.linalg.norm(one, "nuc") for one in z])
    return weight * local - np.linalg.norm(z.mean(axis=1), "nuc")


def finite_differences(function, *inputs, step=1e-6):
    """The gradient of a float64 function with respect to each input."""
    gradients = []
    for which, x in enumerate(inputs):
        gradient = np.zeros(x.shape)
        for index in np.ndindex(*x.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(one, "float64") for one in inputs]
                moved[which][index] += sign * step
                ends.append(function(*moved))
            gradient[index] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients
