import matplotlib.pyplot as plt

history = network.history_
epochs, validation = history[:, "epoch"], history[:, "valid_loss"]
best = epochs[validation.index(min(validation))]
figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.plot(epochs, history[:, "train_loss"], color="#E69F00", label="training")
ax.plot(epochs, validation, color="#0072B2", label="validation")
ax.axvline(best, color="k", ls="--", lw=1, label=f"kept: epoch {best}")
ax.set(xlabel="epoch", ylabel="1 - r with the mean subject")
ax.set_title("Learning curves, early stopping")
_ = ax.legend()
