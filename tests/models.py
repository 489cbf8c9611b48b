"""Small models of the shape that training saves."""

from synthray.model.heads import output_layer
from synthray.synth.parameters import Choice, Constant, ParameterTable, Range

FOREIGN = ParameterTable(
    (
        Constant("volume"),
        Choice("osc_shape", ("sine", "saw", "noise")),
        Range("cutoff"),
        Choice("on", ("no", "yes")),
        Range("decay"),
        Choice("lfo_shape", ("sine", "saw", "square")),
    )
)
FOREIGN_SHAPE = (5, 7)


def build_model(table, shape, range_activation=None, seed=0):
    """Build a small model like a saved one, with heads that differ visibly."""
    import keras

    keras.utils.set_random_seed(seed)
    features = keras.Input(shape, name="in_fft")
    x = keras.layers.Conv1D(4, 3, activation="relu")(features)
    x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(x))
    outputs = [
        keras.layers.Dense(
            parameter.num_outputs,
            activation="softmax" if isinstance(parameter, Choice) else range_activation,
            bias_initializer="random_normal",
            name=output_layer(parameter.name),
        )(x)
        for parameter in table.learned
    ]
    return keras.Model(features, outputs)


def build_card(table, shape, name="model_2_1", **fields):
    """Build a card; ``fields`` replace its default values."""
    from synthray.model.saved import ModelCard

    values = {"epochs": 1, "dataset": {}, "config": {}, "metrics": {}, "sha256": "0123456789abcdef" * 4, **fields}
    return ModelCard(name=name, table=table, feature_shape=shape, **values)
