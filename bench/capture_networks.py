"""Captures networks that people know, and writes them to configs/networks/; needs transformers and diffusers.

    python bench/capture_networks.py [NETWORK ...]             writes these, by default all
    python bench/capture_networks.py --check [NETWORK ...]     ends with exit code 1 where a file is another one

Each is built from its configuration, without weights, and called in evaluation mode with one image. The files in the
repository were written with transformers 5.23.0 and diffusers 0.42.1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from convbench.worker.capture.process import answer
from convbench.workloads.captured import workload
from convbench.workloads.request import request_of
from convbench.workloads.writing import sweep_text

FOLDER = Path(__file__).parent.parent / "configs" / "networks"

#: File -> the network's name, its class, its inputs and what its configuration has in place of the defaults.
NETWORKS: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "resnet-50": ("ResNet-50", "transformers:ResNetForImageClassification", ("1x3x224x224",), ()),
    "resnet-18": (
        "ResNet-18",
        "transformers:ResNetForImageClassification",
        ("1x3x224x224",),
        ("layer_type=basic", "depths=[2, 2, 2, 2]", "hidden_sizes=[64, 128, 256, 512]"),
    ),
    "regnet-y-040": ("RegNetY-040", "transformers:RegNetForImageClassification", ("1x3x224x224",), ()),
    "mobilenet-v1": ("MobileNetV1", "transformers:MobileNetV1ForImageClassification", ("1x3x224x224",), ()),
    "mobilenet-v2": ("MobileNetV2", "transformers:MobileNetV2ForImageClassification", ("1x3x224x224",), ()),
    "efficientnet-b0": (
        "EfficientNet-B0",
        "transformers:EfficientNetForImageClassification",
        ("1x3x224x224",),
        ("width_coefficient=1.0", "depth_coefficient=1.0", "image_size=224", "hidden_dim=1280"),
    ),
    "convnext-tiny": ("ConvNeXt-T", "transformers:ConvNextForImageClassification", ("1x3x224x224",), ()),
    "mobilevit-s": ("MobileViT-S", "transformers:MobileViTForImageClassification", ("1x3x256x256",), ()),
    "poolformer-s12": ("PoolFormer-S12", "transformers:PoolFormerForImageClassification", ("1x3x224x224",), ()),
    "segformer-b0": ("SegFormer-B0", "transformers:SegformerForSemanticSegmentation", ("1x3x512x512",), ()),
    "upernet": ("UPerNet", "transformers:UperNetForSemanticSegmentation", ("1x3x512x512",), ()),
    "dpt": ("DPT", "transformers:DPTForDepthEstimation", ("1x3x384x384",), ()),
    "swin2sr": ("Swin2SR", "transformers:Swin2SRForImageSuperResolution", ("1x3x64x64",), ()),
    "stable-diffusion-unet": (
        "Stable Diffusion 1.5, its U-Net",
        "diffusers:UNet2DConditionModel",
        ("sample=1x4x64x64", "timestep=1:int64", "encoder_hidden_states=1x77x768"),
        ("cross_attention_dim=768", "sample_size=64", "attention_head_dim=8"),
    ),
}


def text_of(network: str) -> str:
    """The sweep of a network."""
    name, model, inputs, arguments = NETWORKS[network]
    request = request_of(model, inputs=inputs, arguments=arguments)
    found = workload(answer(request.message()), name=name, source=f"Captured with: {request.command}")
    return sweep_text(found)


def main(arguments: list[str]) -> int:
    checks = "--check" in arguments
    wrong = 0
    for network in [name for name in arguments if name != "--check"] or NETWORKS:
        path, text = FOLDER / f"{network}.yaml", text_of(network)
        if checks and (not path.exists() or path.read_text(encoding="utf-8") != text):
            print(f"{path.name} is not what would be written")
            wrong += 1
        elif not checks:
            path.write_text(text, encoding="utf-8")
            print(path.name)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
