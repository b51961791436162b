"""Make graph_layers_pyg.npz: outputs of PyTorch Geometric's layers on small random graphs.

Inputs and weights have values that float32 holds exactly; PyTorch Geometric computes in float64,
and the result is stored in float32. Edges are stored as `senders` and `receivers` (the two rows of
PyTorch Geometric's `edge_index`), ordered by receiver and then by sender, as a sparse matrix
`a[receiver, sender]` orders them. `tests/layers/graph/peers.py` reads the file.

Weights are stored as Keras has them: kernels (in, out), gates of a GRU in the order z, r, h.

What PyTorch Geometric does that a comparison has to know:

- GCNConv adds a self-loop of weight 1 only to nodes that have none; one that is there keeps its
  weight (`add_remaining_self_loops`). The paper's A + I adds 1 to it. Case gcn/self_loops has such
  a graph, the other normalised cases have none. Degrees are sums over incoming edges.
- GATConv and GATv2Conv remove self-loops and add one to each node: a node with a self-loop and one
  without are the same to them. They ignore the weights of edges. With `add_self_loops=False` a node
  that receives nothing gets the bias. Coefficients are stored dense, (heads, receiver, sender).
- ChebConv removes self-loops, and its degrees are sums over *outgoing* edges, so its cases have a
  symmetric graph. With normalization "sym" an isolated node has L_ii = 1, with None L_ii = 0.
  Without `lambda_max` it takes 2 max(L) over the entries of L, which is 2 for "sym". Kernels are
  stored as one array (K, in, out).
- SAGEConv ignores weights of edges. Its LSTM runs on over the zeros that pad short neighbourhoods,
  and an isolated node's neighbourhood is nothing but such zeros; so the case has a graph where
  every node has three neighbours.
- CFConv multiplies filters with a cosine cutoff that grows again beyond the cutoff: distances there
  are to be left out by the caller, and the case has none.
- TopKPooling orders the kept nodes by graph and then by falling score; k is the ceiling of
  ratio x nodes.

Run in an environment with torch and torch_geometric:
`python tests/reference/make_graph_layers_pyg.py`.
"""

from pathlib import Path

import numpy as np

NODES, FEATURES, UNITS, HEADS = 12, 5, 4, 3


def main():
    import torch
    import torch_geometric
    from torch import nn
    from torch_geometric import nn as pyg
    from torch_geometric.nn.models.schnet import CFConv, GaussianSmearing, ShiftedSoftplus

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    graphs = make_graphs(np.random.default_rng(0))
    stored = {
        f"graph/{name}/{key}": value
        for name, graph in graphs.items()
        for key, value in graph.items()
    }
    stored["versions"] = np.array([torch_geometric.__version__, torch.__version__])

    def tensors(name):
        graph = graphs[name]
        edges = torch.tensor(np.stack([graph["senders"], graph["receivers"]])).long()
        rest = {
            key: torch.tensor(value, dtype=torch.int64 if key == "i" else torch.float64)
            for key, value in graph.items()
            if key not in ("senders", "receivers")
        }
        return edges, rest

    def randomized(layer):
        """Biases too, which start at 0; values that float32 holds."""
        with torch.no_grad():
            for weight in layer.parameters():
                weight.copy_((0.5 * torch.randn_like(weight)).float())
        return layer

    def store(case, graph, weights, output, **more):
        stored[f"{case}/graph"] = np.array(graph)
        stored[f"{case}/output"] = output
        for key, value in more.items():
            stored[f"{case}/{key}"] = value
        for key, value in weights.items():
            stored[f"{case}/weight/{key}"] = value

    def store_gradients(case, output, leaves):
        """Of the sum of output x probe."""
        probe = torch.randn_like(output).float().double()
        stored[f"{case}/probe"] = probe
        gradients = torch.autograd.grad((output * probe).sum(), list(leaves.values()))
        for key, gradient in zip(leaves, gradients, strict=True):
            stored[f"{case}/gradient/{key}"] = gradient.T if key.startswith("kernel") else gradient

    # GCNConv
    def gcn(case, name, weighted, gradients=False, **settings):
        edges, graph = tensors(name)
        layer = randomized(pyg.GCNConv(FEATURES, UNITS, **settings))
        x, weights = graph["x"].requires_grad_(), graph["weights"].requires_grad_()
        output = layer(x, edges, weights if weighted else None)
        store(case, name, {"kernel": layer.lin.weight.T, "bias": layer.bias}, output)
        if gradients:
            leaves = {"x": x, "kernel": layer.lin.weight, "bias": layer.bias, "weights": weights}
            store_gradients(case, output, leaves)

    gcn("gcn/directed", "directed", True, gradients=True)
    gcn("gcn/undirected", "undirected", True)
    gcn("gcn/unweighted", "directed", False)
    gcn("gcn/self_loops", "self_loops", True)
    gcn("gcn/not_normalized", "self_loops", True, normalize=False)
    gcn("gcn/union", "union", True)

    # ChebConv
    for case, settings, call in (
        ("chebyshev/sym", {}, {}),
        ("chebyshev/sym_lambda_max", {}, {"lambda_max": 1.5}),
        ("chebyshev/unnormalized", {"normalization": None}, {"lambda_max": 3.0}),
        ("chebyshev/order_1", {"K": 1}, {}),
        ("chebyshev/order_5", {"K": 5}, {}),
    ):
        edges, graph = tensors("undirected")
        layer = randomized(pyg.ChebConv(FEATURES, UNITS, **{"K": 3} | settings))
        output = layer(graph["x"], edges, graph["weights"], **call)
        kernels = torch.stack([part.weight.T for part in layer.lins])
        store(case, "undirected", {"kernel": kernels, "bias": layer.bias}, output, **call)

    # GATConv
    def dense_attention(edges, alpha):
        attention = torch.zeros(HEADS, NODES, NODES)
        attention[:, edges[1], edges[0]] = alpha.T
        return attention

    def gat(case, name, gradients=False, edge_features=False, **settings):
        edges, graph = tensors(name)
        if edge_features:
            settings["edge_dim"] = graph["e"].shape[1]
        layer = randomized(pyg.GATConv(FEATURES, UNITS, heads=HEADS, **settings))
        x = graph["x"].requires_grad_()
        output, attention = layer(
            x, edges, graph["e"] if edge_features else None, return_attention_weights=True
        )
        leaves = {
            "kernel": layer.lin.weight,  # (in, heads units) once transposed
            "attention_sender": layer.att_src,  # (1, heads, units)
            "attention_receiver": layer.att_dst,
            "bias": layer.bias,
        }
        weights = leaves | {"kernel": layer.lin.weight.T}
        if edge_features:
            weights["edge_kernel"] = layer.lin_edge.weight.T
            weights["attention_edge"] = layer.att_edge
        store(case, name, weights, output, attention=dense_attention(*attention))
        if gradients:
            store_gradients(case, output, {"x": x, **leaves})

    gat("gat/concat", "self_loops", gradients=True)
    gat("gat/mean", "self_loops", concat=False)
    gat("gat/undirected", "undirected")
    gat("gat/no_self_loops_added", "self_loops", add_self_loops=False)
    gat("gat/edge_features", "edge_features", edge_features=True, add_self_loops=False)

    # GATv2Conv
    def gat_v2(case, name, edge_features=False, **settings):
        edges, graph = tensors(name)
        if edge_features:
            settings["edge_dim"] = graph["e"].shape[1]
        layer = randomized(pyg.GATv2Conv(FEATURES, UNITS, heads=HEADS, **settings))
        output, attention = layer(
            graph["x"], edges, graph["e"] if edge_features else None, return_attention_weights=True
        )
        weights = {
            "sender_kernel": layer.lin_l.weight.T,
            "sender_bias": layer.lin_l.bias,
            "receiver_kernel": layer.lin_r.weight.T,
            "receiver_bias": layer.lin_r.bias,
            "attention": layer.att,  # (1, heads, units)
            "bias": layer.bias,
        }
        if settings.get("share_weights"):
            weights = {k: v for k, v in weights.items() if not k.startswith("receiver")}
        if edge_features:
            weights["edge_kernel"] = layer.lin_edge.weight.T
        store(case, name, weights, output, attention=dense_attention(*attention))

    gat_v2("gat_v2/concat", "self_loops")
    gat_v2("gat_v2/mean", "self_loops", concat=False)
    gat_v2("gat_v2/shared", "self_loops", share_weights=True)
    gat_v2("gat_v2/no_self_loops_added", "self_loops", add_self_loops=False)
    gat_v2("gat_v2/edge_features", "edge_features", edge_features=True, add_self_loops=False)

    # SAGEConv
    for case, name, settings in (
        ("sage/mean", "self_loops", {"aggr": "mean"}),
        ("sage/max", "self_loops", {"aggr": "max"}),
        ("sage/max_pool", "self_loops", {"aggr": "max", "project": True}),
        ("sage/mean_l2", "self_loops", {"aggr": "mean", "normalize": True}),
        ("sage/lstm", "three_neighbors", {"aggr": "lstm"}),
    ):
        edges, graph = tensors(name)
        layer = randomized(pyg.SAGEConv(FEATURES, UNITS, **settings))
        weights = {
            "neighbors_kernel": layer.lin_l.weight.T,
            "self_kernel": layer.lin_r.weight.T,
            "bias": layer.lin_l.bias,
        }
        if "project" in settings:
            weights |= {"pool_kernel": layer.lin.weight.T, "pool_bias": layer.lin.bias}
        if settings["aggr"] == "lstm":
            weights |= keras_lstm(layer.aggr_module.lstm)
        store(case, name, weights, layer(graph["x"], edges))

    # GINConv
    edges, graph = tensors("self_loops")
    mlp = nn.Sequential(nn.Linear(FEATURES, 6), nn.ReLU(), nn.Linear(6, UNITS))
    layer = randomized(pyg.GINConv(mlp, train_eps=True))
    x = graph["x"].requires_grad_()
    leaves = {
        "kernel_1": mlp[0].weight,
        "bias_1": mlp[0].bias,
        "kernel_2": mlp[2].weight,
        "bias_2": mlp[2].bias,
        "epsilon": layer.eps,
    }
    weights = {k: v.T if k.startswith("kernel") else v for k, v in leaves.items()}
    output = layer(x, edges)
    store("gin", "self_loops", weights, output)
    store_gradients("gin", output, {"x": x} | leaves)

    # GatedGraphConv: more units than features, which are padded with zeros
    for case, name in (("gated/directed", "directed"), ("gated/self_loops", "self_loops")):
        edges, graph = tensors(name)
        layer = randomized(pyg.GatedGraphConv(FEATURES + 1, num_layers=3))
        weights = {"kernels": layer.weight, **keras_gru(layer.rnn)}  # one kernel a layer
        store(case, name, weights, layer(graph["x"], edges, graph["weights"]))

    # CFConv of SchNet
    edges, graph = tensors("edge_features")
    smearing = GaussianSmearing(0.0, 4.0, 7)
    filters = nn.Sequential(nn.Linear(7, 6), ShiftedSoftplus(), nn.Linear(6, 6))
    layer = randomized(CFConv(FEATURES, UNITS, 6, filters, cutoff=4.0))
    expanded = smearing(graph["distances"])
    weights = {
        "filter_kernel_1": filters[0].weight.T,
        "filter_bias_1": filters[0].bias,
        "filter_kernel_2": filters[2].weight.T,
        "filter_bias_2": filters[2].bias,
        "in_kernel": layer.lin1.weight.T,
        "out_kernel": layer.lin2.weight.T,
        "out_bias": layer.lin2.bias,
    }
    output = layer(graph["x"], edges, graph["distances"], expanded)
    centers = {"centers": smearing.offset, "coefficient": smearing.coeff}
    store("cf_conv", "edge_features", weights, output, expanded=expanded, cutoff=4.0, **centers)

    # NNConv
    for aggregation in ("sum", "mean"):
        edge_network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, FEATURES * UNITS))
        layer = randomized(pyg.NNConv(FEATURES, UNITS, edge_network, aggr=aggregation))
        weights = {
            "edge_kernel_1": edge_network[0].weight.T,
            "edge_bias_1": edge_network[0].bias,
            "edge_kernel_2": edge_network[2].weight.T,  # its output becomes (features, units)
            "edge_bias_2": edge_network[2].bias,
            "self_kernel": layer.lin.weight.T,
            "bias": layer.bias,
        }
        output = layer(graph["x"], edges, graph["e"])
        store(f"edge_conditioned/{aggregation}", "edge_features", weights, output)

    # from nodes to graphs
    edges, graph = tensors("union")
    x, i = graph["x"], graph["i"]
    for name, aggregation in (
        ("sum", pyg.SumAggregation()),
        ("mean", pyg.MeanAggregation()),
        ("max", pyg.MaxAggregation()),
    ):
        store(f"pool/{name}", "union", {}, aggregation(x, i))
    layer = randomized(
        pyg.AttentionalAggregation(nn.Linear(FEATURES, 1), nn.Linear(FEATURES, UNITS))
    )
    weights = {
        "gate_kernel": layer.gate_nn.weight.T,
        "gate_bias": layer.gate_nn.bias,
        "kernel": layer.nn.weight.T,
        "bias": layer.nn.bias,
    }
    store("pool/attention", "union", weights, layer(x, i))
    for t in (1.0, 2.5):  # softmax over the nodes, a feature at a time
        layer = pyg.SoftmaxAggregation(t)
        store(f"pool/softmax_{t}", "union", {}, layer(x, i))
    layer = randomized(pyg.Set2Set(FEATURES, processing_steps=4))
    store("pool/set2set", "union", keras_lstm(layer.lstm), layer(x, i, dim_size=4), steps=4)

    for ratio in (0.5, 0.8):
        layer = randomized(pyg.TopKPooling(FEATURES, ratio))
        output, pooled, weights, pooled_i, kept, score = layer(x, edges, graph["weights"], i)
        dense = torch.zeros(len(kept), len(kept))
        dense[pooled[1], pooled[0]] = weights
        store(
            f"top_k/{ratio}",
            "union",
            {"projection": layer.select.weight[0]},
            output,
            ratio=ratio,
            kept=kept,
            score=score,
            a=dense,
            i=pooled_i,
        )

    arrays = {name: to_small_array(value) for name, value in stored.items()}
    np.savez_compressed(Path(__file__).with_name("graph_layers_pyg.npz"), **arrays)


def make_graphs(rng):
    """Graphs by name, each a dictionary of arrays; three have an isolated node, 7."""

    def random_edges(density, symmetric=False, self_loops=False):
        a = rng.uniform(size=(NODES, NODES)) < density
        a = np.tril(a, -1) | np.tril(a, -1).T if symmetric else a & ~np.eye(NODES, dtype=bool)
        a[7] = a[:, 7] = False
        a[3] = a[3] & symmetric  # sends, but receives from nobody
        if self_loops:
            a[[2, 3, 7], [2, 3, 7]] = True  # 7 has nothing else
        return a

    def graph(connected, **more):
        receivers, senders = np.nonzero(connected)
        weights = rng.uniform(0.25, 2.0, (NODES, NODES)).astype("float32")
        if np.array_equal(connected, connected.T):
            weights = (weights + weights.T) / 2
        return {
            "x": rng.normal(size=(NODES, FEATURES)).astype("float32"),
            "senders": senders.astype("int32"),
            "receivers": receivers.astype("int32"),
            "weights": weights[receivers, senders],
            **more,
        }

    edge_features = random_edges(0.25, self_loops=True)
    count = int(edge_features.sum())
    three = np.zeros((NODES, NODES), bool)
    for node in range(NODES):
        three[node, rng.choice(NODES, 3, replace=False)] = True
    # four graphs of 5, 1 (no edges), 4 and 2 nodes
    i = np.repeat(np.arange(4), (5, 1, 4, 2)).astype("int32")
    union = (
        (rng.uniform(size=(NODES, NODES)) < 0.7) & (i[:, None] == i) & ~np.eye(NODES, dtype=bool)
    )
    return {
        "directed": graph(random_edges(0.25)),
        "self_loops": graph(random_edges(0.25, self_loops=True)),
        "undirected": graph(random_edges(0.3, symmetric=True)),
        "edge_features": graph(
            edge_features,
            e=rng.normal(size=(count, 3)).astype("float32"),
            distances=rng.uniform(0.2, 3.9, count).astype("float32"),
        ),
        "three_neighbors": graph(three),
        "union": graph(union, i=i),
    }


def keras_gru(cell):
    """Weights of a torch.nn.GRUCell for keras.layers.GRUCell(reset_after=True)."""
    import torch

    def gates(weight):
        reset, update, new = torch.chunk(weight, 3)
        return torch.cat([update, reset, new])

    return {
        "gru_kernel": gates(cell.weight_ih).T,
        "gru_recurrent_kernel": gates(cell.weight_hh).T,
        "gru_bias": torch.stack([gates(cell.bias_ih), gates(cell.bias_hh)]),
    }


def keras_lstm(lstm):
    """Weights of a torch.nn.LSTM of one layer for keras.layers.LSTM, whose gates have its order."""
    return {
        "lstm_kernel": lstm.weight_ih_l0.T,
        "lstm_recurrent_kernel": lstm.weight_hh_l0.T,
        "lstm_bias": lstm.bias_ih_l0 + lstm.bias_hh_l0,
    }


def to_small_array(value):
    value = np.asarray(value.detach() if hasattr(value, "detach") else value)
    small = {"f": "float32", "i": "int32"}.get(value.dtype.kind)
    return value.astype(small) if small else value


if __name__ == "__main__":
    main()
