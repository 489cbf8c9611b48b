# The cells of the notebook that this project follows, as they stand there, in their order. Two lines differ: an
# import that Keras has retired is left out, and ``keras.utils.Sequence`` is called by its new name, ``PyDataset``.
# ruff: noqa

# In [1]:
# For loading batches
import pickle

# For machine learning
import numpy as np
import tensorflow as tf
from tensorflow import keras

# In [2]:
# Shape of a sound batch
X_batch_example = np.load(f'training_data/fft/fft_batch_{0}.npy')
X_batch_example.shape

# In [3]:
# Shape of a parameter batch
with open(f'training_data/parameters/parameter_batches_{0}.pkl', 'rb') as f:
    y_batch_example = pickle.load(f)

print('Length of list = amount of parameters:', len(y_batch_example), '\n')
print('Each item in the list is a batch for a specific parameter, with a length of:', len(y_batch_example[9]), '\n')
print('Except for the constant parameters, which are just a string saying:', y_batch_example[0], '\n')

print('A numerical variable batch (first 5 examples):', '\n', y_batch_example[9][:5], '\n')
print('A categorical variable batch (first 5 examples):', '\n', y_batch_example[10][:5], '\n')

# In [4]:
# Load parameter keys file
with open(f'training_data/keys.pkl', 'rb') as f:
    parameter_keys = pickle.load(f)

# Load randomizer parts file
with open(f'training_data/randomizer_parts.pkl', 'rb') as f:
    parameter_randomizer_parts = pickle.load(f)

# Turn parameter keys file into a list of parameter names
parameter_names = []
for i in range(len(parameter_keys)):
    key_path = parameter_keys[i]

    name = ""
    for j in range(len(key_path)):
        name = name + str(key_path[j])
        if j != len(key_path) - 1:
            name = name + "_"

    parameter_names.append(name)

# In [5]:
class DataLoader(keras.utils.PyDataset):
    def __init__(self, batch_ids, parameter_names, batch_size=32):
        self.batch_amount = len(batch_ids)
        self.batch_size = batch_size
        self.batch_ids = batch_ids
        self.parameter_names = parameter_names

    def __len__(self):
        return self.batch_amount

    # This function will be called before training a batch, it will return the batch to be trained on
    def __getitem__(self, index):
        # Convert training step index into batch number
        batch_number = self.batch_ids[index]

        # Load sound data batch
        X_fft = np.load(f'training_data/fft/fft_batch_{batch_number}.npy')
        X = {'in_fft': X_fft}

        # Load parameter data batch
        y = {}
        with open(f'training_data/parameters/parameter_batches_{batch_number}.pkl', 'rb') as f:
            y_parameters = pickle.load(f)

        # Convert it into a dictionary of individual parameter batches
        # Here we leave out the constant parameters, which are not used for training
        for i in range(len(y_parameters)):
            parameter_name = self.parameter_names[i]
            parameter_batch = y_parameters[i]
            if type(parameter_batch) == str and parameter_batch == 'constant':
                continue
            else:
                y[f'out_{parameter_name}'] = parameter_batch

        return X, y

    # This function is called after every epoch
    # here it's used to shuffle the batches, so that each epoch goes through them in a different order
    def on_epoch_end(self):
        np.random.shuffle(self.batch_ids)

# In [6]:
# Information for the shape of the sound data batch (for the shape of the convolution layer)
X_batch_example = np.load(f'training_data/fft/fft_batch_{0}.npy')
fft_chunk_size_half = X_batch_example.shape[2]
fft_chunk_amount = X_batch_example.shape[1]

# Input layer
fft_input = keras.Input(shape=(fft_chunk_amount,fft_chunk_size_half), name='in_fft')

# Convolution layer
x = keras.layers.Conv1D(filters=256, kernel_size=3, activation = keras.activations.relu)(fft_input)
x = keras.layers.Flatten()(x)

# Regular fully connected layer
x = keras.layers.Dense(256, activation = keras.activations.relu)(x)


# Output layers
# Since there are so many different outputs, we define these with a loop
loss = {}
metrics = {}
output_layers = []

for i in range(len(parameter_names)):
    if parameter_randomizer_parts[i]['random_type'] == 'constant':
        continue

    # Categorical variabels are one-hot encoded numpy arrays
    elif parameter_randomizer_parts[i]['random_type'] == 'choice':
        label_amount = len(parameter_randomizer_parts[i]['random_values'])
        layer_name = f'out_{parameter_names[i]}'
        loss[layer_name] = keras.losses.CategoricalCrossentropy()
        metrics[layer_name] = keras.metrics.categorical_accuracy
        layer = keras.layers.Dense(label_amount,  activation = keras.activations.softmax, name=layer_name)(x)
        output_layers.append(layer)

    # Numerical variables are numpy float scalars
    elif parameter_randomizer_parts[i]['random_type'] == 'range':
        layer_name = f'out_{parameter_names[i]}'
        loss[layer_name] = keras.losses.MeanAbsoluteError()
        layer = keras.layers.Dense(1, name=layer_name)(x)
        output_layers.append(layer)

# Compile model
model = keras.Model(inputs=[fft_input], outputs=output_layers)
model.compile(loss = loss,
              optimizer = keras.optimizers.SGD(),
              metrics=metrics)

# In [7]:
# Summary of the model
# Most of these are output layers
print(model.summary())

# In [8]:
# Create DataLoaders for training
train_amt = 9
valid_amt = 1
G_train = DataLoader(np.arange(train_amt-valid_amt), parameter_names)
G_valid = DataLoader(np.arange(valid_amt)+(train_amt-1), parameter_names)

# In [9]:
# Train
history = model.fit(x=G_train, epochs = 20, validation_data=G_valid)

# In [10]:
# Naming stands for the number of batches and epochs
model.save('keras_models/model_9_20.keras')
