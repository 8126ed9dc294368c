"""One plain sentence for each figure: what it shows."""

SENTENCES = {
    "arrangements_picture": (
        "Three points in the plane, their four activation patterns, and the "
        "constraints without which the convex program is not that of the network."
    ),
    "batch_norm_cifar": (
        "Normalisation before the ReLU: the optimum in closed form, programs of the "
        "leading singular directions alone, and the order in which gradient descent "
        "learns directions."
    ),
    "bench_estimators": (
        "Scores on held-out rows of 28 tables for the estimators and for MLP, linear "
        "models and gradient boosting of scikit-learn, all by their defaults."
    ),
    "bench_global": (
        "The network that column generation finds for 14 tables, beside 45 runs "
        "each of Adam, L-BFGS and SGD, and the bound that is proven."
    ),
    "bench_scaling": (
        "Seconds to a certified gap as samples, features, patterns and devices "
        "grow, and the speed of the inner products beside the machine's limits."
    ),
    "bench_semidefinite": (
        "Seconds to a certified gap for polynomial and quantized networks, beside "
        "CVXPY with Clarabel and SCS."
    ),
    "bench_solvers": (
        "Accuracy against seconds for cvxjax, adelie, pyscnn, Clarabel and SCS, and "
        "the share of problems that each solves first."
    ),
    "bench_stochastic": (
        "Seconds of one minibatch step on the convex program, beside PyTorch and "
        "the machine's fastest product."
    ),
    "cifar100_convex_sgd": (
        "SGD on the convex program beside SGD on the ReLU network, with the hundred "
        "classes of CIFAR-100, in a reduced run."
    ),
    "cifar10_convex_sgd": (
        "SGD on the convex program over sampled gates beside SGD on the ReLU "
        "network, on 10,000 images of CIFAR-10: accuracies and objectives against "
        "time and epochs."
    ),
    "cifar_cnn_binary": (
        "A convolutional network on two classes of CIFAR-10: the objective of the "
        "convex program and of local searches against time, and test accuracies."
    ),
    "convex_autoencoder": (
        "Digits through a network that returns its input: rank, error and pictures "
        "as the weight decay changes."
    ),
    "ecg_prediction": (
        "The next sample of an electrocardiogram from the last 15: convex network, "
        "linear model and local searches, by training objective and test error."
    ),
    "fashion_mnist_convex": (
        "SGD on the convex program beside SGD on the ReLU network, on 20,000 images "
        "of Fashion-MNIST."
    ),
    "polynomial_cnn": (
        "A convolutional network with a polynomial activation on two classes: the "
        "certified optimum beside SGD and Adam."
    ),
    "polynomial_multiclass": (
        "Ten classes of digits by one polynomial network: test accuracy and neurons "
        "as the weight decay changes."
    ),
    "quadratic_activation_toy": (
        "A network with the activation t^2 and ten planted neurons: the cost of SGD "
        "and Adam against time, and the convex optimum."
    ),
    "quantized_breast_cancer": (
        "Networks with weights -1 and 1 drawn from a semidefinite relaxation, "
        "beside trained weights that were rounded."
    ),
    "regularisation_path": (
        "From the zero network to interpolation: neurons, fits, test errors and "
        "bounds as the weight decay falls."
    ),
    "sampling_ratio": (
        "How far the optimum over few random patterns is above the optimum over "
        "all, and what low-rank data cost."
    ),
    "slide_constants": (
        "Convex programs as the talk prints them, the exact ones, and the best of "
        "100 local searches on each network."
    ),
    "spiral_vector_output": (
        "Three spirals and three outputs: the optimum certified by two solvers, "
        "runs of gradient descent, and decision regions."
    ),
    "toy_cost_curves": (
        "Training cost of SGD from ten initialisations on five points, and the "
        "certified optimum of the convex program."
    ),
}
