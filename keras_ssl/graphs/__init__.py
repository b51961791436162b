"""The structure of graphs, without weights: conversion, normalisation, isomorphism, walks."""

__all__: list[str] = []
