"""Bad input: what was expected, what came, and what to type. One row each."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests import cases

M, I = km.manifolds, km.inhibitors  # noqa: E741
R, L, P = km.ModuliRegularizer, km.layers, km.MagnitudePruning
OLD = km.sparse.version_0_1
LAYOUT = km.sparse.BlockLayout(8, 8, (4, 4), ((0,), (1,)))
S, C = km.pruning, km.connectivity
HALF = C.Random(0.5, (2, 2))
FINITE = M.FiniteMetric([[0, 1], [1, 0]])


def model(compiled=True, optimizer="adam"):
    network = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(3)])
    if compiled:
        network.compile(optimizer, "mse")
    return network


def blocky(compiled=True, rule=HALF):
    layer = L.SparseSimpleRNN(8, connectivity=rule)
    network = keras.Sequential([keras.Input((5, 2)), layer], name="blocky")
    if compiled:
        network.compile("adam", "mse")
    return network


def wired(rule, units=8, layer=L.SparseGRU, **arguments):
    """Builds a sparse layer, which learns of its size then."""
    return layer(units, connectivity=rule, **arguments).build((None, 5, 8))


def sparse():
    network = model()
    network.set_weights([on(2, 3), np.eye(3), on(3)])
    return network


def attach(network, **arguments):
    P(**arguments).set_model(network)


def built(units):
    embedding = L.NeuronEmbedding()
    embedding.build((units,))
    return embedding


def train(network, *callbacks):
    targets = on(2, network.output_shape[-1])
    network.fit(on(2, 5, 2), targets, verbose=0, callbacks=list(callbacks))


def on(*shape):
    return np.ones(shape, "float32")


ROWS = [
    # What is typed, the error, and parts of its message.
    (lambda: R("tours"), ValueError, ["Unknown manifold 'tours'. Did you mean 'torus'?",
        "'circle'", "Manifold instance"]),
    (lambda: R("Sphere "), ValueError, ["Did you mean 'sphere'?"]),
    (lambda: R("product"), ValueError, ["Product(factors=...)"]),
    (lambda: R("finite_metric"), ValueError, ["FiniteMetric(distances=...)"]),
    (lambda: R(3), TypeError, ["`manifold` must be a name", "Received: 3"]),
    (lambda: R(M.Torus), TypeError, ["Did you mean Torus(...)?", "`manifold` must be"]),
    (lambda: R(I.Identity()), TypeError, ["`manifold` must be a name", "Identity()"]),
    (lambda: R(inhibitor="dogs"), ValueError, ["Did you mean 'dog'?"]),
    (lambda: R(inhibitor=M.Torus()), TypeError, ["`inhibitor` must be a name"]),
    (lambda: R(strength=-1.0), ValueError, ["`strength`", "at least 0", "strength=-1.0"]),
    (lambda: R(strength=float("nan")), ValueError, ["`strength` must be finite"]),
    (lambda: R(strength=float("inf")), ValueError, ["`strength` must be finite"]),
    (lambda: R(strength="1"), TypeError, ["`strength` must be a number"]),
    (lambda: R(strength=True), TypeError, ["`strength` must be a number"]),
    (lambda: R(power=0), ValueError, ["`power` must be at least 1"]),
    (lambda: R(power=1.5), TypeError, ["`power` must be an integer"]),
    (lambda: R(reduction="max"), ValueError, ["['sum', 'mean']", "'max'"]),
    (lambda: R(gates=0), ValueError, ["`gates` must be at least 1"]),
    (lambda: R(seed=-1), ValueError, ["`seed` must be at least 0"]),
    (lambda: R(seed=2**32), ValueError, ["`seed` must be below 2**32"]),
    (lambda: R(embedding=on(4, 3)), ValueError, ["(n, 2)", "Torus", "(4, 3)"]),
    (lambda: R(embedding=on(4)), ValueError, ["(n, 2)", "(4,)"]),
    (lambda: R(embedding=np.full((4, 2), np.nan)), ValueError, ["must be finite"]),
    (lambda: R(output_seed=1, output_embedding=on(4, 2)), ValueError, ["not both"]),
    (lambda: R(embedding=on(4, 2))(on(5, 5)), ValueError, ["(5, 2)", "(4, 2)"]),
    (lambda: R()(on(5)), ValueError, ["at least two axes", "(5,)"]),
    (lambda: R()(on(4, 16)), ValueError, ["`gates=4`", "`output_seed=1`", "(4, 16)"]),
    (lambda: R()(on(16, 4)), ValueError, ["Pass `output_seed=1`", "(16, 4)"]),
    (lambda: R(gates=3)(on(4, 16)), ValueError, ["16 outputs", "multiple of 3"]),
    (lambda: R(gates=4)(on(4, 4)), ValueError, ["4 inputs to 1 outputs"]),
    (lambda: R()(on(4, 2, 2)), ValueError, ["`input_axes`", "(4, 2, 2)"]),
    (lambda: R(input_axes=2)(on(4, 4)), ValueError, ["`input_axes`", "input_axes=2"]),
    (lambda: km.matched_l1("l1", 8), TypeError, ["must be a ModuliRegularizer"]),
    (lambda: km.matched_l1(R(power=3), 8), ValueError, ["power 1 and 2"]),
    (lambda: km.matched_l1(R(), 0), ValueError, ["`units` must be at least 1"]),
    (lambda: M.Torus(0), ValueError, ["`dim` must be at least 1"]),
    (lambda: M.Torus(2, 0.0), ValueError, ["`period` must be above 0"]),
    (lambda: M.Torus(2, (1.0,)), ValueError, ["2 axes"]),
    (lambda: M.Sphere(radius=-1), ValueError, ["`radius`"]),
    (lambda: M.PoincareBall(curvature=1.0), ValueError, ["below 0", "`Sphere`"]),
    (lambda: M.Product([]), ValueError, ["at least one"]),
    (lambda: M.Product("torus"), TypeError, ["a list of manifolds"]),
    (lambda: M.Product(["torus"], [1, 2]), ValueError, ["1 factors"]),
    (lambda: M.FiniteMetric(on(2, 3)), ValueError, ["square", "(2, 3)"]),
    (lambda: M.FiniteMetric([[0, 1], [2, 0]]), ValueError, ["symmetric"]),
    (lambda: M.FiniteMetric([[0, 0], [0, 0]]), ValueError, ["above 0 off it"]),
    (lambda: M.FiniteMetric([[0, np.inf], [np.inf, 0]]), ValueError, ["finite"]),
    (
        lambda: M.FiniteMetric([[0, 9, 1], [9, 0, 1], [1, 1, 0]]),
        ValueError,
        ["triangle inequality", "from_graph"],
    ),
    (
        lambda: M.FiniteMetric.from_graph([[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
        ValueError,
        ["connected", "node 0 to node 2"],
    ),
    (lambda: M.Torus().distance(on(3), on(3)), ValueError, ["(..., 2)", "x.shape=(3,)"]),
    (lambda: M.Torus().sample(0), ValueError, ["`n` must be at least 1"]),
    (lambda: I.Gaussian(width=0), ValueError, ["`width` must be above 0"]),
    (lambda: I.Constant(-1), ValueError, ["`value`", "at least 0"]),
    (lambda: I.DifferenceOfGaussians(1, 1, 2), ValueError, ["`narrow` must be below"]),
    (lambda: I.DifferenceOfGaussians(baseline="max"), ValueError, ["'peak'"]),
    (lambda: km.schedules.get("cubik"), ValueError, ["Did you mean 'cubic'?"]),
    (lambda: km.schedules.Cubic(1.5), ValueError, ["at most 1"]),
    (lambda: km.MagnitudePruning(1.0), ValueError, ["[0, 1)", "0.9 for 90 %"]),
    (lambda: km.MagnitudePruning(-0.1), ValueError, ["`sparsity`", "at least 0"]),
    (lambda: km.MagnitudePruning(95), ValueError, ["[0, 1)", "95"]),
    (lambda: km.MagnitudePruning("0.9"), TypeError, ["`sparsity` must be a number"]),
    (lambda: km.MagnitudePruning(begin=3, end=2), ValueError, ["before `begin`"]),
    (lambda: km.MagnitudePruning(select=3), TypeError, ["function of a variable"]),
    (lambda: attach(model(), select=lambda v: False), ValueError, ["Nothing to prune",
        "sequential/simple_rnn"]),
    (lambda: attach(model(compiled=False)), ValueError, ["`model.compile("]),
    (lambda: km.sparsity(keras.Sequential([keras.layers.Dense(1)])), ValueError,
        ["no weights yet", "`model.build(input_shape)`"]),
    (lambda: km.sparsity("model.keras"), TypeError, ["Expected a keras.Model"]),
    (lambda: L.ModuliGRU(4, manifold=FINITE), ValueError, ["cannot be learned",
        "embedding_trainable=False", "NeuronSwap"]),
    (lambda: L.NeuronEmbedding(FINITE), ValueError, ["cannot be learned"]),
    (lambda: L.ModuliGRU(4, manifold="tours"), ValueError, ["Did you mean 'torus'?"]),
    (lambda: L.ModuliGRU(4, strength=-1.0), ValueError, ["`strength`", "at least 0"]),
    (lambda: L.ModuliGRU(4, dispersion=-1.0), ValueError, ["`dispersion`"]),
    (lambda: L.ModuliGRU(4, power=0), ValueError, ["`power`"]),
    (lambda: L.ModuliGRU(4, embedding_trainable=1), TypeError, ["`embedding_trainable`"]),
    (lambda: L.ModuliGRU(4, embedding="torus"), TypeError, ["NeuronEmbedding"]),
    (lambda: L.ModuliGRU(4, manifold="torus", embedding=L.NeuronEmbedding("sphere")),
        ValueError, ["leave `manifold` out"]),
    (lambda: L.ModuliGRU(4, embedding=built(5)).build((None, 3, 2)), ValueError,
        ["places 5 neurons, not 4"]),
    (lambda: L.Moduli(keras.layers.LayerNormalization()).build((None, 3)), TypeError,
        ["Moduli wraps Dense", "LayerNormalization"]),
    (lambda: L.Moduli("dense"), ValueError, ["dense"]),
    (lambda: L.Moduli(keras.layers.EinsumDense("abc,dc->abd", (3, 2))).build((2, 3, 4)),
        ValueError, ["inputs first", "abc,dc->abd"]),
    (lambda: L.Moduli(keras.layers.Dense(3), input_embedding=L.NeuronEmbedding("torus"),
        output_embedding=L.NeuronEmbedding("sphere")).build((None, 2)), ValueError,
        ["one manifold", "Torus", "Sphere"]),
    (lambda: R(communicability=True, output_seed=1)(on(4, 6)), ValueError,
        ["square kernel", "(4, 6)"]),
    (lambda: R(communicability="yes"), TypeError, ["`communicability` must be True"]),
    (lambda: km.GeometrySchedule("linear"), ValueError, ["`ramp` needs `end`"]),
    (lambda: km.GeometrySchedule("liner", end=3), ValueError, ["'linear'?"]),
    (lambda: km.GeometrySchedule("linear", begin=3, end=2), ValueError, ["`end`"]),
    (lambda: km.GeometrySchedule(freeze=-1), ValueError, ["`freeze`"]),
    (lambda: train(model(), km.GeometrySchedule(freeze=1)), ValueError,
        ["no learned geometry"]),
    (lambda: train(model(), km.NeuronSwap()), ValueError, ["no neurons to swap"]),
    (lambda: km.geometry(model()), ValueError, ["no weight of model"]),
    (lambda: km.geometry(blocky(rule=C.Local("torus", 0.5, (2, 2)))), ValueError,
        ["No weight of model", "costs by distance", "km.placement(model)"]),
    (lambda: km.embedding_optimizer("adam", 0.0), ValueError, ["`learning_rate`"]),
    (lambda: M.Torus().natural_length(1.0), ValueError, ["`density` must be below 1"]),
    (lambda: I.Gaussian.for_density("torus", 0.0), ValueError, ["`density`"]),
    (lambda: P(unit="batch"), ValueError, ["['epoch', 'step']", "'batch'"]),
    (lambda: P(frequency=0), ValueError, ["`frequency` must be at least 1"]),
    (lambda: P(frequency=0.5), TypeError, ["`frequency` must be an integer"]),
    (lambda: P(scope="local"), ValueError, ["'erk', 'gate', 'global', 'layer'"]),
    (lambda: P(schedule=lambda p: 1 + p), ValueError, ["`schedule`", "[0, 1]", "1.1"]),
    (lambda: P(schedule=lambda p: "0.5"), TypeError, ["schedule(progress)"]),
    (lambda: P(block=(8, 8)), TypeError, ["argument 'block'", "`structure=(b, c)`",
        "Blocks((b, c), balanced=False)"]),
    (lambda: P(balanced=True), TypeError, ["'balanced'", "Blocks((b, c), balanced=T"]),
    (lambda: P(pattern=(2, 4)), TypeError, ["'pattern'", "structure=km.pruning.NofM("]),
    (lambda: P(pad=True), TypeError, ["'pad'", "NofM(n, m, pad=True)"]),
    (lambda: P(patern=(2, 4)), TypeError, ["unexpected keyword argument 'patern'."]),
    (lambda: P(structure=8), TypeError, ["`structure` must be", "(16, 64)", "8"]),
    (lambda: P(structure=(8,)), TypeError, ["pair of integers", "(16, 64)", "(8,)"]),
    (lambda: P(structure=(0, 8)), ValueError, ["`structure` must be at least 1"]),
    (lambda: P(structure="block"), ValueError, ["Did you mean 'blocks'?"]),
    (lambda: P(structure="blocks"), ValueError, ["Blocks(shape=...)"]),
    (lambda: S.Blocks(8), TypeError, ["pair of integers", "(16, 64)", "shape=8"]),
    (lambda: S.Blocks((0, 8)), ValueError, ["`shape` must be at least 1"]),
    (lambda: S.Blocks((8, 8), "yes"), TypeError, ["`balanced` must be True or False"]),
    (lambda: S.Blocks((8, 8), pad="yes"), TypeError, ["`pad` must be True or False"]),
    (lambda: S.NofM(4, 2), ValueError, ["`n` must be below `m`", "n=4, m=2"]),
    (lambda: S.NofM(0, 2), ValueError, ["`n` must be at least 1"]),
    (lambda: P(0.9, structure=S.NofM(2, 4)), ValueError, ["leave `sparsity` out", "0.9"]),
    (lambda: P(structure=S.NofM(2, 4), select={"kernel": 0.5}), ValueError,
        ["NofM(n=2, m=4, pad=False)", "cannot be a dict"]),
    (lambda: P(structure=S.NofM(2, 4), regrow="set"), ValueError, ["does not go with"]),
    (lambda: S.Timeline().at(0), ValueError, ["no `end` yet", "`settle(length)`"]),
    (lambda: P(0.5, select={"kernel": 0.5}), ValueError, ["leave `sparsity` out"]),
    (lambda: P(select={"kernel": 1.0}), ValueError, ["select['kernel']", "[0, 1)"]),
    (lambda: P(select={3: 0.5}), TypeError, ["by strings"]),
    (lambda: P(select="("), ValueError, ["malformed regular expression", "'('"]),
    (lambda: P(select=[]), TypeError, ["`select` must be"]),
    (lambda: P(score="size"), ValueError, ["['geometric', 'magnitude']", "'size'"]),
    (lambda: P(score=3), TypeError, ["`score` must be", "a function from a variable"]),
    (lambda: P(schedule=3), TypeError, ["`schedule` must be", "a function of progress"]),
    (lambda: P(regrow="riggle"), ValueError, ["Did you mean 'rigl'?"]),
    (lambda: P(regrow=0.3), TypeError, ["`regrowth` must be a name", "0.3"]),
    (lambda: P(reset_moments=1), TypeError, ["`reset_moments`"]),
    (lambda: km.pruning.RigL(1.0), ValueError, ["`fraction` must be below 1"]),
    (lambda: km.pruning.SET(seed=-1), ValueError, ["`seed`"]),
    (lambda: attach(model(), select="simple_rn/kernel"), ValueError,
        ["found in no path", "simple_rnn/simple_rnn_cell/kernel"]),
    (lambda: attach(model(), select=["kernel", "gru"]), ValueError, ["'gru'", "nearest"]),
    (lambda: attach(model(), select="bias"), ValueError, ["can be pruned: 'bias'"]),
    (lambda: attach(model(), select={"recurrent": 0.5, "kernel": 0.9}), ValueError,
        ["two sparsities", "recurrent_kernel", "'recurrent' and 'kernel' match"]),
    (lambda: attach(model(), structure=(3, 3)), ValueError,
        ["3 × 3", "simple_rnn_cell/kernel", "2 × 3", "`pad=True`"]),
    (lambda: attach(model(), structure=S.NofM(2, 4)), ValueError,
        ["4 × 1", "`pad=True`"]),
    (lambda: attach(model(), score="geometric"), ValueError, ["weight with a geometry"]),
    (lambda: attach(model(optimizer="sgd"), regrow="rigl"), ValueError,
        ["momentum", "SGD keeps none"]),
    (lambda: train(model(), P(score=lambda v: [1.0])), ValueError,
        ["variable's shape", "(2, 3)", "(1,)"]),
    (lambda: train(model(), P(score=lambda v: -np.ones(v.shape))), ValueError,
        ["not negative", "-1.0"]),
    (lambda: train(model(), P(0.5), P(0.9)), ValueError, ["Two MagnitudePruning",
        "recurrent_kernel"]),
    (lambda: train(model(), P(structure=(5, 5))), ValueError,
        ["`structure` does not suit", "5 × 5 does not divide"]),
    (lambda: P().attach(model()), ValueError, ["`end` must be given"]),
    (lambda: P(end=3).attach(model(compiled=False)), ValueError, ["`model.compile("]),
    (lambda: P(end=3).update(0), ValueError, ["Call `attach(model, optimizer)`"]),
    (lambda: P(end=3).due(0), ValueError, ["Call `attach(model, optimizer)`"]),
    (lambda: km.lottery_ticket(model()), ValueError, ["no zeros", "MagnitudePruning"]),
    (lambda: km.lottery_ticket("model.keras"), TypeError, ["Expected a keras.Model"]),
    (lambda: km.lottery_ticket(sparse(), seed=-1), ValueError, ["`seed`"]),
    (lambda: km.lottery_ticket(sparse(), rewind=[on(3)]), ValueError,
        ["`model.get_weights()`", "(3, 3)", "[(3,)]"]),
    (lambda: km.save_compressed(model(), "model.h5"), ValueError, ["end in `.keras`"]),
    (lambda: km.save_compressed("model", "model.keras"), TypeError, ["keras.Model"]),
    (lambda: km.sparse.plan("model.keras"), TypeError, ["Expected a keras.Model"]),
    (lambda: km.sparse.plan(model(), 8), TypeError, ["pair of integers"]),
    (lambda: km.sparsify("model.keras"), TypeError, ["Expected a keras.Model"]),
    (lambda: km.sparsify(keras.Sequential([keras.layers.Dense(1)])), ValueError,
        ["no weights yet"]),
    (lambda: km.sparsify(model(), {}), TypeError, ["`plan` must be a SparsePlan",
        "type dict"]),
    (lambda: M.register(M.Torus), TypeError, ["@register('my_manifold')", "Torus"]),
    (lambda: I.register("mine")(M.Torus), TypeError, ["subclass of Inhibitor"]),
    (lambda: I.register("dog")(type("Dog", (I.Identity,), {})), ValueError,
        ["'dog' is keras_moduli.inhibitors.DifferenceOfGaussians already"]),
    (lambda: M.register("mine")(type("Torus", (M.Euclidean,), {})), ValueError,
        ["keras_moduli.manifolds>Torus is", "Choose another name"]),
    (lambda: km.sparsify(model(), 8), TypeError, ["pair of integers", "block=8"]),
    (lambda: km.sparsify(model(), (0, 8)), ValueError, ["`block` must be at least 1"]),
    (lambda: km.sparsify(model(), tolerance=0.0), ValueError, ["`tolerance`"]),
    (lambda: km.sparsify(model(), batch_size=0), ValueError, ["`batch_size`"]),
    (lambda: km.sparse.BlockLayout(8, 8, (4, 4), ((0,),)), ValueError, ["2 entries"]),
    (lambda: km.sparse.BlockLayout(8, 8, (4, 4), ((0,), (2,))), ValueError, ["[0, 2)"]),
    (lambda: OLD.BlockSparseDense("8x8"), TypeError, ["a BlockLayout", "'8x8'"]),
    (lambda: OLD.BlockSparseLSTMCell(LAYOUT, None), ValueError, ["4·n", "8 × 8"]),
    (lambda: OLD.BlockSparseDense(LAYOUT)(on(2, 7)), ValueError, ["8 inputs"]),
    (lambda: km.sparse.Stream(model()).step(on(5, 2)), ValueError, ["(1, 2)", "(5, 2)"]),
    (lambda: km.sparse.Stream("model"), TypeError, ["Expected a keras.Model"]),
    (lambda: km.sparse.Stream(keras.Sequential([keras.Input((5, 2)),
        keras.layers.Conv1D(3, 2)])), ValueError, ["more than one time step", "Conv1D"]),
    (lambda: km.save_compressed(keras.Sequential([keras.layers.Dense(1)]), "m.keras"),
        ValueError, ["no weights yet"]),
    (lambda: km.sparse.BlockLayout.of(None, (4, 4)), TypeError, ["`mask`", "None"]),
    (lambda: km.sparse.BlockLayout(8, 8, 4, ((0,), (1,))), TypeError, ["`block`", "4"]),
    (lambda: OLD.BlockSparseRNN.from_config({}), ValueError, ["`get_config`"]),
    (lambda: km.sparse.pack(None, on(8, 8)), TypeError, ["PlanRow"]),
    (lambda: S.magnitude_masks({1}, (1, 2), 3), TypeError, ["`weights`", "{1}"]),
    (lambda: S.magnitude_masks([on(3)], [on(2) > 0], 1), ValueError, ["shapes"]),
    (lambda: S.erdos_renyi_kernel([(8, 8)], -(10**400)), ValueError, ["`density`"]),
    (lambda: S.erdos_renyi_kernel(8, 0.1), TypeError, ["`shapes`", "8"]),
    (lambda: km.embedding_optimizer({"a": 1}), TypeError, ["`optimizer`"]),
    (lambda: km.Rewire(), ValueError, ["`Rewire(..., data=(x, y))`", "grow='near'"]),
    (lambda: km.Rewire(0), ValueError, ["`fraction` must be above 0"]),
    (lambda: km.Rewire(1.5), ValueError, ["(0, 1]", "fraction=1.5"]),
    (lambda: km.Rewire(frequency=0), ValueError, ["`frequency` must be at least 1"]),
    (lambda: km.Rewire(end=100), ValueError, ["after the first move", "end=100"]),
    (lambda: km.Rewire(grow="far"), ValueError, ["'near'", "grow='far'"]),
    (lambda: km.Rewire(drop="gradient"), ValueError, ["['magnitude']"]),
    (lambda: km.Rewire(data=on(3)), TypeError, ["`data` must be (x, y)", "ndarray"]),
    (lambda: km.Rewire(data=(on(3), on(4))), ValueError, ["of samples", "[3, 4]"]),
    (lambda: km.Rewire(grow="near", data=(on(3), on(3))), ValueError,
        ["`data` is for grow='gradient'"]),
    (lambda: km.Rewire(grow="near", embedding=on(3)), TypeError, ["NeuronEmbedding"]),
    (lambda: km.Rewire(grow="near", select={"kernel": 0.5}), TypeError,
        ["without sparsities"]),
    (lambda: km.Rewire(grow="random").attach(model()), ValueError,
        ["no kernel of blocks", "`km.layers.SparseGRU(", "regrow='rigl'"]),
    (lambda: km.Rewire(grow="random", select="kernel").attach(model()), ValueError,
        ["no kernel of blocks that select='kernel' matches"]),
    (lambda: P(end=9).attach(b := blocky()) or km.Rewire(grow="random").attach(b),
        ValueError, ["blocky/", "select=lambda v", "`select=` in Rewire"]),
    (lambda: km.Rewire(grow="near").attach(blocky()), ValueError,
        ["no manifold connects", "km.connectivity.Local(...)", "embedding="]),
    (lambda: km.Rewire(grow="near", embedding=L.NeuronEmbedding()).attach(blocky()),
        ValueError, ["no positions yet", "build_for(8)"]),
    (lambda: km.Rewire(grow="near", embedding=built(5)).attach(blocky()), ValueError,
        ["places 5 neurons", "8 inputs and 8 neurons"]),
    (lambda: km.Rewire(data=(on(2, 5, 2), on(2, 8))).attach(blocky(compiled=False)),
        ValueError, ["has no loss", "`model.compile("]),
    (lambda: km.Rewire(grow="random").update(0), ValueError, ["Call `attach(model"]),
    (lambda: km.Rewire(grow="random").due(0), ValueError, ["Call `attach(model"]),
    (lambda: wired(C.Random(0.1, (4, 4))), ValueError, ["density=0.1 leaves 0.2 of them",
        "Type density=1/2"]),
    (lambda: wired(C.Random(0.5, (3, 3))), ValueError, ["must divide the kernel",
        "Type block=(4, 4)", "block=(3, 3)"]),
    (lambda: wired(C.FromMask(LAYOUT), 12), ValueError, ["of a kernel (8, 8)",
        "12 units and gates=3", "FromMask.of(mask, block=(4, 4))"]),
    (lambda: wired(C.Local(FINITE, 1.0, (4, 4))), ValueError, ["has 2 elements",
        "Type a FiniteMetric of 8 × 8 distances"]),
    (lambda: wired(C.Random(0.5, (2, 2)), order=[0, 1, 2, 3, 4, 5, 6, 6]), ValueError,
        ["`order` must be a permutation of 8 neurons", "8 entries, 7 different ones"]),
    (lambda: wired(C.Random(0.5, (2, 2)), order=range(7)), ValueError,
        ["permutation of 8 neurons", "7 entries"]),
    (lambda: wired(C.Random(0.5, (2, 2)), order="torus"), TypeError,
        ["`order` must be a permutation of 8 neurons", "'torus'"]),
    (lambda: wired("rondom"), ValueError, ["Did you mean 'random'?"]),
    (lambda: wired(3), TypeError, ["`connectivity` must be"]),
    (lambda: wired(None), TypeError, ["SmallWorld('torus', density=1 / 16)", "nothing"]),
    (lambda: L.SparseDense(8, connectivity=np.ones((8, 8), bool)), TypeError,
        ["FromMask.of(mask, block=(16, 64))", "shape (8, 8)"]),
    (lambda: wired(C.Random(0.5, (2, 2)), input_connectivity=3), TypeError,
        ["`input_connectivity` must be"]),
    (lambda: L.SparseDense(8, connectivity=C.Random(0.5, (2, 2)), lora_rank=2),
        ValueError, ["LoRA", "Leave `lora_rank` out", "lora_rank=2"]),
    (lambda: L.SparseDense(8, connectivity=C.Random(0.5, (2, 2))).enable_lora(2),
        ValueError, ["LoRA"]),
    (lambda: L.SparseLSTM(6, connectivity=km.sparse.BlockLayout(6, 24, (4, 4),
        6 * ((0, 1),)), recurrent_dropout=0.5)(on(2, 5, 2), training=True), ValueError,
        ["do not divide 6 units", "`recurrent_dropout`"]),
    (lambda: M.Torus(2, (1.0, "a")), TypeError, ["`period` must be a number", "'a'"]),
    (lambda: M.Product(["torus"], ["a"]), TypeError, ["`weights` must be a number"]),
    (lambda: km.penalties.swap_neurons(np.eye(2), np.eye(2), -1), ValueError,
        ["`sweeps` must be at least 0"]),
    (lambda: S.erdos_renyi_kernel([(8, "a")], 0.1), TypeError, ["`shapes` must be"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    ROWS,
    ids=[f"{i}: {row[2][0]}" for i, row in enumerate(ROWS)],
)
def test_message(call, error, parts):
    with pytest.raises(error) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
    assert "keras_moduli._" not in str(caught.value), "no internals in a message"


ODD = [None, "", "torus", float("nan"), 10**400, -1, True, [], [1], (1, "a"), {},
    {"a": 1}, {1}, object(), np.ones(()), np.ones((2, 3)), np.array(["a"]), b"x", 1j, int,
    range(3), keras.layers.Dense(2), np.ones((3, 2), complex)]  # fmt: skip


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "call",
    [M.get, I.get, km.schedules.get, S.structures.get, S.scopes.get, S.scores.get,
        S.regrowth.get, M.Torus, M.Sphere, M.Product, M.FiniteMetric, I.Gaussian,
        km.ModuliRegularizer, km.matched_l1, km.layers.NeuronEmbedding,
        km.layers.ModuliGRU, km.layers.Moduli, km.layers.find_embeddings,
        km.MagnitudePruning, km.KeepZeros, km.AtFinalSparsity, km.lottery_ticket,
        km.GeometrySchedule, km.GeometryMonitor, km.NeuronSwap, km.embedding_optimizer,
        km.geometry, km.sparsity, km.sparsify, km.sparse.plan, km.sparse.Stream,
        km.sparse.SparsePlan, km.layers.SparseDense, S.Blocks, S.NofM, S.Timeline,
        S.erdos_renyi_kernel, S.prunable_variables, km.load_compressed, km.Rewire],
    ids=lambda call: call.__qualname__,
)  # fmt: skip
def test_whatever_comes_is_taken_or_refused_in_words(call):
    """Nothing wrong ends in an error of the inside."""
    for value in ODD:
        try:
            call(value)
        except (TypeError, ValueError) as error:
            assert len(str(error)) > 15, (value, error)  # noqa: PT017


CONFIGURATIONS = [
    *[case.manifold for case in cases.MANIFOLDS.values()],
    *[inhibitor for inhibitor, _ in cases.INHIBITORS.values()],
    *[schedule for schedule, _ in cases.SCHEDULES.values()],
    *[structure for structure, _ in cases.STRUCTURES.values()],
    *[scope for scope, _ in cases.SCOPES.values()],
    *cases.SCORES.values(),
    *cases.REGROWTHS,
    km.ModuliRegularizer().cost,
    S.Timeline(),
]


@pytest.mark.backend_independent
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=repr)
def test_an_error_names_the_argument_that_it_is_about(configuration):
    for field in dataclasses.fields(configuration):
        if field.init:
            with pytest.raises((TypeError, ValueError), match=f"`{field.name}`"):
                dataclasses.replace(configuration, **{field.name: object()})
