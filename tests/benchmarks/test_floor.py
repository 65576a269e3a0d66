"""The floor: what a large matrix product on this CPU would take."""

from __future__ import annotations

import time

import torch

from benchmarks.bench_fps import FLOOR_PRECISIONS, floor_lines
from benchmarks.floor import Product, _products, product_rates


def test_a_precision_in_plain_loops_is_never_multiplied_at_full_size() -> None:
    multiplied: list[tuple[str, int]] = []

    def make(side: int) -> dict[str, Product]:
        def product(name: str, pause_s: float) -> Product:
            def multiply() -> torch.Tensor:
                multiplied.append((name, side))
                time.sleep(pause_s)
                return torch.zeros(1)

            return multiply

        return {"f32": product("f32", 0.002), "bf16": product("bf16", 0.0), "int8": product("int8", 0.05)}

    rates = product_rates(make)
    assert set(rates) == {"f32", "bf16"}
    small, large = sorted({side for _, side in multiplied})
    assert ("int8", small) in multiplied
    assert ("int8", large) not in multiplied


def test_the_products_are_of_the_precisions_that_are_named() -> None:
    products = _products(32)
    assert tuple(products) == FLOOR_PRECISIONS
    kinds = [products[name]().dtype for name in FLOOR_PRECISIONS]
    assert kinds == [torch.float32, torch.bfloat16, torch.int32]


def test_what_is_left_out_is_said() -> None:
    work = {"resnet18": 2e9}
    (full,) = floor_lines({"operations": work, "rates": {"f32": 1e12, "bf16": 2e12, "int8": 4e12}})
    assert full == "resnet18, 2.0 GFLOP a frame: f32 2.0 ms, bf16 1.0 ms, int8 0.5 ms"
    (short,) = floor_lines({"operations": work, "rates": {"f32": 1e12}})
    assert short == "resnet18, 2.0 GFLOP a frame: f32 2.0 ms (this CPU does not multiply bf16 and int8 natively)"
