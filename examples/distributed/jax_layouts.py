"""How the scripts on JAX lay out batches and weights over devices."""

import keras

D = keras.distribution


def share_batch(devices: list[str]) -> D.DataParallel:
    """Shares the batch among devices, each of which has all weights."""
    mesh = D.DeviceMesh((len(devices),), ["batch"], devices)
    # Where there are several processes, each is given its own data.
    return D.DataParallel(device_mesh=mesh, auto_shard_dataset=False)


def share_columns(devices: list[str]) -> D.ModelParallel:
    """Shares the columns of kernels among some devices, and the batch among others.

    The batch two ways, if they are an even number of four or more.
    """
    count = len(devices)
    columns = count if count < 4 or count % 2 else count // 2
    mesh = D.DeviceMesh((count // columns, columns), ["batch", "columns"], devices)
    layouts = D.LayoutMap(mesh)
    # Keras matches whole paths, and no path may match two patterns.
    layouts[".*/sparse_gru.*recurrent_kernel"] = ("columns", None, None)
    layouts[".*/sparse_gru.*recurrent_kernel_indices"] = ("columns", None)
    layouts[".*simple_rnn.*kernel"] = (None, "columns")
    return D.ModelParallel(
        layout_map=layouts, batch_dim_name="batch", auto_shard_dataset=False
    )
