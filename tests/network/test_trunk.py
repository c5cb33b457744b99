import copy
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import AlexNet, DenseNet, SwinTransformer, VisionTransformer
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.vgg import VGG, make_layers

from sklearn_rdm._network._backbones import load_backbone
from sklearn_rdm._network._trunk import Trunk
from tests.networks import Small


def vgg():
    """VGG with few channels."""
    with torch.device("meta"):
        network = VGG(nn.Identity(), init_weights=False)
    network.features = make_layers([4, "M", 4, "M", 6, 6, "M", 8, 8, "M", 8, 8, "M"])
    network.classifier = nn.Sequential(
        nn.Linear(8 * 7 * 7, 12), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(12, 5)
    )
    return network


def initialise(module):
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()


def alexnet():
    """AlexNet with narrow fully connected layers."""
    with torch.device("meta"):
        network = AlexNet()
    network.features.to_empty(device="cpu").apply(initialise)
    network.classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(256 * 6 * 6, 16),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(16, 12),
        nn.ReLU(inplace=True),
        nn.Linear(12, 5),
    )
    return network


NETWORKS = {
    "alexnet": alexnet,
    "vgg": vgg,
    "resnet18": "resnet18",
    "efficientnet_lite0": "efficientnet_lite0",
    "shufflenet": "shufflenet_v2_x0_5",
    "mobilenet": "mobilenet_v3_small",
    "densenet": partial(DenseNet, 4, (2, 3), 8, num_classes=5),
    "vit": partial(VisionTransformer, 64, 16, 2, 2, 16, 24, num_classes=5),
    "swin": partial(SwinTransformer, [4, 4], 8, [2, 2], [2, 2], [7, 7], num_classes=5),
}
NODES = {
    "alexnet": ["features.0", "features.9", "avgpool", "classifier.6"],
    "vgg": ["features.2", "features.14", "flatten", "classifier.3"],
    "resnet18": ["bn1", "layer1.0.relu", "layer2.0.add", "fc"],
    "efficientnet_lite0": ["_swish", "_blocks.4._bn1", "_blocks.14.add", "_fc"],
    "shufflenet": ["stage2.1.cat", "fc"],
    "mobilenet": ["features.4.block.2", "features.8.add", "classifier.3"],
    "densenet": ["features.denseblock2.denselayer2.conv1", "features.norm5", "classifier"],
    "vit": ["encoder.layers.encoder_layer_0.ln_1", "encoder.add", "encoder.ln", "heads.head"],
    "swin": ["features.1.0.attn.shifted_window_attention", "features.2.norm", "permute", "head"],
}
# torchvision takes the end of a module's own name for the number of a call.
THEIR_NAMES = {"encoder.layers.encoder_layer_0.ln_1": "encoder.layers.encoder_layer_0.ln"}
PENULTIMATE = {
    "alexnet": "classifier.5",
    "vgg": "classifier.1",
    "resnet18": "avgpool",
    "efficientnet_lite0": "_avg_pooling",
    "shufflenet": "mean",
    "mobilenet": "classifier.1",
    "densenet": "adaptive_avg_pool2d",
    "vit": "getitem_5",
    "swin": "avgpool",
}
X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def loaded():
    return {
        name: load_backbone(backbone, None, image_size=64, random_state=0)
        for name, backbone in NETWORKS.items()
    }


@pytest.fixture
def build(loaded):
    """Build a trunk of a copy of one of the networks."""

    def build(name, *layers, **options):
        return Trunk(copy.deepcopy(loaded[name]), layers or [None], **options)

    return build


each_network = pytest.mark.parametrize("name", NETWORKS)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.norm = nn.BatchNorm2d(n_out)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.norm(self.conv(x)).relu())


class Blocks(nn.Module):
    """Three blocks, a tensor of the network's own, and a constant buffer."""

    def __init__(self, stride=2, pool=nn.MaxPool2d):
        super().__init__()
        self.first, self.second, self.third = Block(3, 4), Block(4, 4), Block(4, 4)
        self.pool = pool(stride)
        self.gain = nn.Parameter(torch.ones(4, 1, 1))
        self.register_buffer("shift", torch.rand(4, 1, 1))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.pool(self.first(x))
        x = self.gain * self.second(x) + self.shift
        return self.head(self.third(x).mean((2, 3)))


def blocks(*layers, seed=0, factory=Blocks, **options):
    return Trunk(
        load_backbone(factory, None, image_size=64, random_state=seed), layers or [None], **options
    )


def values(trunk, x=X):
    with torch.no_grad():
        return trunk(x)


def trained(trunk):
    return {name for name, p in trunk.network.named_parameters() if p.requires_grad}


# Reading out


@each_network
@pytest.mark.usefixtures("without_drop_connect")
@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained by tracing")
def test_read_out_equals_torchvisions_feature_extraction(loaded, build, name):
    for node in NODES[name]:
        theirs = THEIR_NAMES.get(node, node)
        extractor = create_feature_extractor(copy.deepcopy(loaded[name].network), [theirs]).eval()
        with torch.no_grad():
            expected = extractor(X)[theirs]
        trunk = build(name, node)
        assert trunk.layers == (node,)
        assert torch.equal(values(trunk)[0], expected)
    with torch.no_grad():
        assert torch.equal(expected, loaded[name].network(X))  # the last node is the output


@each_network
def test_the_default_layer_is_what_enters_the_last_layer_with_weights(loaded, build, name):
    trunk = build(name)
    assert trunk.layers == (PENULTIMATE[name],)
    network = copy.deepcopy(loaded[name].network)
    seen = []
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        network(X)
    assert torch.equal(values(trunk)[0].flatten(1), seen[0])


def test_a_module_means_its_last_node(build):
    for module, node in {
        "layer2": "layer2.1.relu_1",
        "layer1.0": "layer1.0.relu_1",
        "layer1.0.bn1": "layer1.0.bn1",
        "x": "x",
    }.items():
        assert build("resnet18", module).layers == (node,)
    assert build("alexnet", "conv4", "fc7").layers == ("features.8", "classifier.4")
    assert build("efficientnet_lite0", "stem", "block2").layers == ("_swish", "_blocks.2.add")
    assert build("densenet", "features.denseblock1").layers == ("features.denseblock1.cat",)


@each_network
def test_layers_that_work_in_place_do_not_change_an_earlier_read_out(build, name):
    together = values(build(name, *NODES[name]))
    for node, value in zip(NODES[name], together, strict=True):
        assert torch.equal(value, values(build(name, node))[0])


def test_a_convolution_read_out_beside_its_in_place_relu_keeps_its_negative_values(build):
    conv, relu = values(build("alexnet", "conv2", "relu2"))
    assert conv.min() < 0
    assert torch.equal(relu, conv.relu())
    frozen = build("alexnet", "conv2", "relu2", freeze_up_to="conv2")
    assert frozen.cut == "features.3"
    assert torch.equal(values(frozen)[0], conv)


def test_layers_are_given_out_in_the_order_asked_for(build):
    late, early, again = values(build("resnet18", "layer2", "layer1", "layer2"))
    assert late.shape[1:] == (128, 8, 8)
    assert early.shape[1:] == (64, 16, 16)
    assert torch.equal(late, again)


def test_an_unknown_layer_lists_the_valid_names_and_suggests_close_ones(build):
    with pytest.raises(
        ValueError, match="AlexNet has no layer 'conv6'. Did you mean 'conv5'"
    ) as caught:
        build("alexnet", "conv6")
    for name in ("conv1", "conv5", "pool5", "fc7", "features.0", "classifier.6", "avgpool"):
        assert name in str(caught.value).split("Valid names:")[1]
    with pytest.raises(ValueError, match=r"Did you mean 'layer1\.0\.conv2'"):
        build("resnet18", freeze_up_to="layer1.0.conv2d")
    with pytest.raises(ValueError, match="resnet18 has no layer 'conv5_2'"):
        build("resnet18", freeze_from="conv5_2")
    with pytest.raises(ValueError, match="has no layer 'output'"):
        build("resnet18", "output")


def test_weights_are_no_layer(build):
    with pytest.raises(ValueError, match="has no layer 'class_token'"):
        build("vit", "class_token")


@pytest.mark.parametrize(
    ("name", "layer", "value"),
    [
        ("vit", "encoder.layers.encoder_layer_0.self_attention", "tuple"),
        ("shufflenet", "stage2.1.chunk", "tuple"),
        ("vit", "getattr", "Size"),
        ("vit", "getitem", "int"),
    ],
)
def test_a_layer_without_one_tensor_per_image_is_refused(build, name, layer, value):
    trunk = build(name, layer)
    advice = "Read out one of these" if value == "tuple" else "Read out the layer before or after"
    message = f"no activations of its own .* of 2 images its value is of type {value}.*{advice}"
    with pytest.raises(ValueError, match=message):
        values(trunk)


def test_a_layer_that_mixes_images_is_refused():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(x.permute(2, 0, 1, 3).mean(3))

    with pytest.raises(ValueError, match=r"of 2 images its value is a tensor \[64, 2, 3, 64\]"):
        values(blocks("permute", factory=Mixing))


def test_what_torch_fx_cannot_follow_is_refused():
    class DataDependent(Blocks):
        def forward(self, x):
            return self.head(x.mean((2, 3))) if x.sum() > 0 else x

    with pytest.raises(
        ValueError, match="DataDependent cannot be cut, so that its last layer is not known"
    ):
        blocks(factory=DataDependent)
    with pytest.raises(ValueError, match="ReLU has no layer with parameters"):
        blocks(factory=nn.ReLU)


def scripted():
    return nn.Sequential(nn.Conv2d(3, 4, 3), torch.jit.script(nn.ReLU()))


def without_weights():
    with torch.device("meta"):
        return Small()


@pytest.mark.parametrize(
    ("factory", "message"),
    [(scripted, "torch.jit has compiled.*made of"), (without_weights, "'meta': build it on the p")],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")
def test_a_network_whose_layers_cannot_be_read_raises_an_error(factory, message):
    with pytest.raises(ValueError, match=message):
        blocks("0", factory=factory)


def test_what_the_factory_freezes_stays_frozen():
    def factory():
        network = Small()
        network.first.requires_grad_(False)
        return network

    trunk = blocks("second", factory=factory)
    assert trained(trunk) == {"second.weight", "second.bias"}


def test_a_network_of_bfloat16_gives_its_own_values():
    class Half(Small):
        def forward(self, x):
            return super().forward(x.bfloat16())

    trunk = blocks("second", factory=lambda: Half().bfloat16())
    network = trunk.network
    with torch.no_grad():
        right = network.second(network.first(X.bfloat16()).relu())
    assert torch.equal(values(trunk)[0], right)
    assert trunk.key("whole") != blocks("first", factory=lambda: Half().bfloat16()).key("whole")


# Cutting


CUTS = {
    "alexnet": ["conv1", "pool2", "relu5", "fc6"],
    "vgg": ["conv1_1", "pool3", "conv5_2", "fc6"],
    "resnet18": ["conv1", "layer1", "layer2.0", "layer3.0.bn1", "layer4"],
    "efficientnet_lite0": ["stem", *(f"block{i}" for i in range(1, 16, 5)), "head"],
    "shufflenet": ["conv1", "stage2.1.branch2.0", "stage4"],
    "mobilenet": ["features.0", "features.4", "features.9.block.1", "features.12"],
    "densenet": [
        "features.pool0",
        "features.denseblock1",
        "features.denseblock2.denselayer2.norm1",
    ],
    "vit": ["conv_proj", "encoder.layers.encoder_layer_0", "encoder.ln"],
    "swin": ["features.0", "features.1.0", "features.1", "features.2.norm"],
}


@each_network
def test_prefix_and_suffix_are_the_whole_wherever_the_network_is_cut(build, name):
    expected = values(build(name))[0]
    cuts = []
    for layer in CUTS[name]:
        trunk = build(name, freeze_up_to=layer)
        kept = trunk.prefix(X)
        assert isinstance(kept, torch.Tensor)
        assert not kept.requires_grad
        with torch.no_grad():
            assert torch.equal(trunk.suffix(kept)[0], expected)
            assert torch.equal(trunk(X)[0], expected)
        cuts.append(trunk.cut)
    assert len(set(cuts)) == len(cuts)


@pytest.mark.parametrize(
    ("name", "freeze_up_to", "cut"),
    [
        ("resnet18", "layer2.0.conv1", "layer1.1.relu_1"),  # its input goes round it
        ("resnet18", "layer2.0.bn2", "layer1.1.relu_1"),
        ("resnet18", "layer2.0.relu", "layer1.1.relu_1"),
        ("resnet18", "layer2.0.downsample.1", "layer1.1.relu_1"),
        ("resnet18", "layer2.0.add", "layer2.0.add"),
        ("resnet18", "layer2.0", "layer2.0.relu_1"),
        ("resnet18", "conv1", "conv1"),
        ("resnet18", None, "x"),
        ("efficientnet_lite0", "_blocks.2._bn1", "_blocks.1._bn2"),
        ("efficientnet_lite0", "block1", "_blocks.1._bn2"),
        ("shufflenet", "stage2.1.branch2.0", "stage2.0.view_1"),  # a split has two tensors
        ("densenet", "features.denseblock1.denselayer2.conv1", "features.pool0"),
        ("vit", "encoder.layers.encoder_layer_0.ln_2", "encoder.layers.encoder_layer_0.add"),
        ("swin", "features.1.1.attn", "features.1.0.add_1"),
        ("alexnet", "fc7", "classifier.4"),
        ("alexnet", "fc8", "classifier.5"),  # the read-out
    ],
)
def test_the_cut_is_the_last_frozen_place_where_one_tensor_holds_all(
    build, name, freeze_up_to, cut
):
    trunk = build(name, freeze_up_to=freeze_up_to)
    assert trunk.cut == cut
    assert trunk.has_prefix == (cut != "x")


def test_an_early_read_out_is_not_behind_the_cut(build):
    trunk = build("resnet18", "layer3", "layer1", freeze_up_to="layer2")
    assert trunk.cut == "layer1.1.relu_1"
    branches = build("resnet18", "layer2.0.bn2", "layer2.0.downsample", freeze_up_to="layer2")
    assert branches.cut == "layer1.1.relu_1"


def record_calls(network):
    """Names of the layers as they are run, those that torch.fx goes into left out."""
    calls = []
    for name, module in network.named_modules():
        if type(module).__module__.startswith("torch.nn") and not list(module.children()):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    return calls


@pytest.mark.parametrize(
    ("name", "layer", "freeze_up_to", "last"),
    [
        ("alexnet", "conv4", "conv2", "features.8"),
        ("vgg", "pool5", "conv3_1", "features.20"),
        ("resnet18", "layer2", "layer1", "layer2.1.relu"),
        ("efficientnet_lite0", "block5", "stem", "_blocks.5._bn2"),
        (
            "densenet",
            "features.denseblock1",
            "features.conv0",
            "features.denseblock1.denselayer2.conv2",
        ),
        (
            "vit",
            "encoder.layers.encoder_layer_0",
            "encoder.add",
            "encoder.layers.encoder_layer_0.mlp.4",
        ),
        ("swin", "features.1", "features.1.0", "features.1.1.mlp.4"),
    ],
)
def test_nothing_behind_the_read_out_is_run(loaded, name, layer, freeze_up_to, last):
    whole = copy.deepcopy(loaded[name])
    calls = record_calls(whole.network)
    with torch.no_grad():
        whole.network(X)
    expected = calls[: len(calls) - calls[::-1].index(last)]
    assert 0 < len(expected) < len(calls)
    calls.clear()
    trunk = Trunk(whole, [layer], freeze_up_to=freeze_up_to)
    calls.clear()  # it was checked against the whole network when it was built
    kept = trunk.prefix(X)
    n_prefix = len(calls)
    with torch.no_grad():
        trunk.suffix(kept)
    assert calls == expected
    assert 0 < n_prefix < len(calls)


@pytest.mark.parametrize(
    ("name", "layer", "kept"),
    [
        ("alexnet", "conv4", [f"features.{i}." for i in range(9)]),
        ("vgg", "pool5", ["features."]),
        ("resnet18", "layer2", ["conv1.", "bn1.", "layer1.", "layer2."]),
        ("resnet18", "layer2.0.downsample", ["conv1.", "bn1.", "layer1.", "layer2.0.downsample."]),
        ("efficientnet_lite0", "stem", ["_conv_stem.", "_bn0."]),
        ("vit", "conv_proj", ["conv_proj."]),
        ("vit", "encoder.add", ["conv_proj.", "class_token", "encoder.pos_embedding"]),
        ("swin", "features.1.0.attn", ["features.0.", "features.1.0.norm1.", "features.1.0.attn."]),
        ("alexnet", "x", ["nothing"]),
    ],
)
def test_nothing_behind_the_read_out_is_kept(loaded, build, name, layer, kept):
    whole = loaded[name].network.state_dict()
    state = build(name, layer).network.state_dict()
    assert set(state) == {n for n in whole if n.startswith(tuple(kept))}
    assert len(state) < len(whole)
    assert all(torch.equal(value, whole[n]) for n, value in state.items())


def test_state_dict_names_are_torchvisions(loaded, build):
    for name, nodes in NODES.items():
        own = build(name, nodes[-1]).network.state_dict()
        assert own.keys() == loaded[name].network.state_dict().keys()


# Freezing


RESNET = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet18", {}, RESNET),
        ("resnet18", {"freeze_up_to": "conv1"}, RESNET[1:]),
        ("resnet18", {"freeze_up_to": "layer2"}, RESNET[4:]),
        ("resnet18", {"freeze_up_to": "layer2.0"}, ["layer2.1", *RESNET[4:]]),
        ("resnet18", {"freeze_from": "layer3"}, RESNET[:4]),
        (
            "resnet18",
            {"freeze_from": "layer3.1.conv2"},
            [*RESNET[:4], "layer3.0", "layer3.1.conv1", "layer3.1.bn1"],
        ),
        ("resnet18", {"freeze_up_to": "layer1", "freeze_from": "layer3"}, ["layer2"]),
        ("resnet18", {"freeze_up_to": "layer3", "freeze_from": "layer2"}, []),
        ("resnet18", {"freeze_from": "x"}, []),
        ("alexnet", {"freeze_up_to": "pool5"}, ["classifier"]),
        ("alexnet", {"freeze_up_to": "conv5"}, ["classifier"]),
        ("alexnet", {"freeze_up_to": "conv4", "freeze_from": "fc6"}, ["features.10"]),
        (
            "swin",
            {"freeze_from": "features.1.1.attn"},
            ["features.0", "features.1.0", "features.1.1.norm1"],
        ),
        (
            "swin",
            {"freeze_up_to": "features.1.1.attn"},
            ["features.1.1.norm2", "features.1.1.mlp", "features.2", "features.3", "norm"],
        ),
        ("vit", {"freeze_up_to": "conv_proj"}, ["class_token", "encoder"]),
        ("vit", {"freeze_up_to": "encoder.add"}, ["encoder.layers", "encoder.ln"]),
        (
            "efficientnet_lite0",
            {"freeze_up_to": "block14"},
            ["_blocks.15", "_conv_head", "_bn1"],
        ),
    ],
)
def test_exactly_the_layers_asked_for_are_frozen(build, name, options, expected):
    trunk = build(name, **options)
    names = {n for n, _ in trunk.network.named_parameters()}
    assert trained(trunk) == {
        n for n in names if any(n == part or n.startswith(f"{part}.") for part in expected)
    }


def test_frozen_weights_get_no_gradient_and_trained_ones_do(build):
    trunk = build("resnet18", freeze_up_to="layer1", freeze_from="layer3").train()
    trunk(X)[0].sum().backward()
    with_gradient = {n for n, p in trunk.network.named_parameters() if p.grad is not None}
    assert with_gradient == trained(trunk)
    assert all(p.grad.abs().sum() > 0 for p in trunk.parameters() if p.requires_grad)


def note(seen, name, module, inputs, output):
    seen[name] = (inputs[0], output)


FREEZING = {
    "nothing": ({}, set()),
    "up_to": ({"freeze_up_to": "first"}, {"first"}),
    "from": ({"freeze_from": "third"}, {"third"}),
    "both": ({"freeze_up_to": "first", "freeze_from": "third"}, {"first", "third"}),
}


@pytest.mark.parametrize("freeze_batch_norm", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize(("options", "frozen"), FREEZING.values(), ids=FREEZING)
def test_frozen_statistics_and_dropout_never_move(freeze_batch_norm, dropout, options, frozen):
    trunk = blocks(**options, freeze_batch_norm=freeze_batch_norm, dropout=dropout)
    before = copy.deepcopy(trunk.network.state_dict())
    for mode in (False, True):
        assert trunk.train(mode) is trunk
        assert trunk.training is mode
        seen = {}
        for name in ("first", "second", "third"):
            drop = trunk.network.get_submodule(f"{name}.drop")
            drop.register_forward_hook(partial(note, seen, name))
        values(trunk)
        for name, (given, dropped) in seen.items():
            active = mode and name not in frozen
            assert torch.equal(given, dropped) != (active and dropout)
            for statistic in ("running_mean", "running_var", "num_batches_tracked"):
                key = f"{name}.norm.{statistic}"
                moved = not torch.equal(trunk.network.state_dict()[key], before[key])
                assert moved == (active and not freeze_batch_norm)
    assert trunk.is_deterministic == (freeze_batch_norm and not dropout)
    trunk.eval()
    assert torch.equal(values(trunk)[0], values(trunk)[0])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet", "swin"])
def test_by_default_training_mode_computes_the_same_as_evaluation(build, name):
    trunk = build(name)
    expected = values(trunk)[0]
    before = copy.deepcopy(trunk.state_dict())
    assert torch.equal(values(trunk.train())[0], expected)
    assert all(torch.equal(v, before[k]) for k, v in trunk.state_dict().items())


def test_stochastic_depth_of_trained_layers_follows_dropout(build):
    trunk = build("swin", dropout=True, freeze_up_to="features.1")
    for module in trunk.network.modules():
        if hasattr(module, "p") and hasattr(module, "mode"):
            module.p = 0.5
    trunk.train()
    depths = {n: m.training for n, m in trunk.network.named_modules() if hasattr(m, "mode")}
    assert len(depths) == 4
    assert all(active == n.startswith("features.3") for n, active in depths.items())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(values(trunk)[0], values(trunk)[0])
        assert torch.equal(trunk.prefix(X), trunk.prefix(X))


# Copies


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda trunk: pickle.loads(pickle.dumps(trunk)),
    "pickled_twice": lambda trunk: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(trunk)))),
}


@each_network
@pytest.mark.parametrize("copied", ["deepcopy", "pickle"])
def test_copies_compute_the_same_and_are_their_own(build, name, copied):
    trunk = build(name, freeze_up_to=CUTS[name][1])
    twin = COPIES[copied](trunk)
    assert (twin.layers, twin.cut) == (trunk.layers, trunk.cut)
    assert trained(twin) == trained(trunk)
    assert twin.key("whole") == trunk.key("whole")
    expected = values(trunk)[0]
    assert torch.equal(values(twin)[0], expected)
    with torch.no_grad():  # the copy's graphs run the layers of the copy's network
        for parameter in twin.network.parameters():
            parameter.mul_(1.5)
    assert torch.equal(values(trunk)[0], expected)
    assert not torch.equal(values(twin)[0], expected)


def test_a_pickle_holds_each_weight_once(build):
    trunk = build("mobilenet", freeze_up_to="features.4")
    size = sum(v.numel() * v.element_size() for v in trunk.state_dict().values())
    assert len(pickle.dumps(trunk)) < 1.2 * size


def test_a_copy_keeps_the_mode_and_what_is_frozen_in_it():
    trunk = blocks(freeze_up_to="first", freeze_batch_norm=False, dropout=True).train()
    for make_copy in COPIES.values():
        twin = make_copy(trunk)
        assert twin.training
        modes = {n: m.training for n, m in twin.network.named_modules()}
        assert modes == {n: m.training for n, m in trunk.network.named_modules()}
        assert not modes["first.norm"]
        assert modes["second.norm"]
        twin.eval()
        assert torch.equal(values(twin)[0], values(copy.deepcopy(trunk).eval())[0])


@pytest.mark.parametrize("name", ["resnet18", "vit", "swin", "efficientnet_lite0"])
def test_dtype_and_memory_format_are_changed_throughout(build, name):
    trunk = build(name)
    expected = values(trunk)[0]
    twin = copy.deepcopy(trunk).to(torch.float64)
    assert {v.dtype for v in twin.parameters()} == {torch.float64}
    result = values(twin, X.double())[0]
    assert result.dtype == torch.float64
    torch.testing.assert_close(result.float(), expected, rtol=1e-3, atol=1e-4)
    last = trunk.to(memory_format=torch.channels_last)
    result = values(last, X.contiguous(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", [None, *COPIES.values()])
def test_the_networks_own_tensors_follow_to_another_dtype(change):
    trunk = blocks(freeze_up_to="pool")
    twin = copy.deepcopy(trunk) if change is None else change(trunk)
    twin = twin.to(torch.float64)
    result = values(twin, X.double())[0]
    torch.testing.assert_close(result.float(), values(trunk)[0])
    twin.network.shift += 1  # a buffer is another tensor now, and must be the one that is used
    assert not torch.allclose(values(twin, X.double())[0], result)


def test_moving_it_in_training_mode_does_not_change_what_it_computes(build):
    trunk = build("efficientnet_lite0", dropout=True)
    expected = values(trunk)[0]
    trunk.train().to(torch.float32)
    assert torch.equal(values(trunk.eval())[0], expected)


def test_loaded_weights_are_those_that_are_run():
    trunk, other = blocks(seed=0), blocks(seed=1)
    assert not torch.equal(values(trunk)[0], values(other)[0])
    trunk.load_state_dict(other.state_dict())
    assert torch.equal(values(trunk)[0], values(other)[0])


# The key of what is kept


def key(part="prefix", layer="head", **options):
    return blocks(layer, **options).key(part)


def test_the_prefix_has_one_key_whatever_follows_it():
    expected = key(freeze_up_to="second")
    assert key(freeze_up_to="second") == expected
    assert key(layer="third", freeze_up_to="second") == expected
    assert key(freeze_up_to="second", freeze_from="head", dropout=True) == expected
    trunk = blocks("head", freeze_up_to="second")
    with torch.no_grad():
        trunk.network.head.weight.add_(1)
    assert trunk.train().key("prefix") == expected
    assert trunk.key("whole") != key("whole", freeze_up_to="second")


class OtherShift(Blocks):
    def __init__(self):
        super().__init__()
        self.shift += 1


@pytest.mark.parametrize(
    ("factory", "options"),
    [
        (Blocks, {"seed": 1}),
        (Blocks, {"freeze_up_to": "second"}),
        (partial(Blocks, stride=3), {}),
        (partial(Blocks, pool=nn.AvgPool2d), {}),
        (OtherShift, {}),
    ],
)
def test_another_network_or_cut_has_another_key(factory, options):
    options = {"freeze_up_to": "third", "factory": factory, **options}
    assert key(**options) == key(**options)
    assert key(**options) != key(freeze_up_to="third")


def test_the_key_follows_every_weight_and_statistic_of_its_part():
    trunk = blocks("head")
    keys = {trunk.key("whole")}
    for name, value in trunk.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value.view(-1)[-1] += 0.001
            keys.add(trunk.key("whole"))
    n_values = sum("num_batches" not in name for name in trunk.state_dict())
    assert len(keys) == 1 + n_values
    assert blocks("third").key("whole") != blocks("second").key("whole")
    assert (
        len({blocks("third", "second").key("whole"), blocks("second", "third").key("whole")}) == 2
    )


def test_layers_after_the_read_out_are_exported_as_a_weights_file_has_them(tmp_path):
    torch.manual_seed(3)
    pretrained = Small()
    torch.save(pretrained.state_dict(), tmp_path / "small.pth")
    trunk = Trunk(load_backbone(Small, tmp_path / "small.pth", image_size=24), ["second"])
    with torch.no_grad():
        trunk.network.first.weight.mul_(2)
    exported = trunk.export_network().state_dict()
    expected = pretrained.state_dict()
    expected["first.weight"] = 2 * expected["first.weight"]
    assert exported.keys() == expected.keys()
    assert all(torch.equal(exported[name], expected[name]) for name in expected)
