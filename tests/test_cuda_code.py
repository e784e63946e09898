"""What a GPU's compiler makes of the kernels: arithmetic that is rounded as IEEE 754 says, as the source has it.

Kernels are compiled for compute capability 9.0 by the compiler in .venv/cuda, which needs no GPU.
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import TIMEOUT
from device_cases import QUICK

import streamrnn

ROOT = Path(__file__).parent.parent
COMPILER = ROOT / ".venv" / "cuda" / "bin" / "python"
PLAIN, MADE_AS_KERNELS = "compiled as Numba does", "compiled as kernels are"

# instructions on floats: those that round, once, to the nearest; those that move, compare and choose; conversions
ROUNDED = r"(fma|mul|add|sub|div|rcp|sqrt)\.rn\.f(32|64)"
OTHER = r"(mov|ld|st|setp?|selp|neg|abs|testp|min|max|copysign)\b.*"
CONVERSIONS = r"cvt\.(rn|rzi|rmi|rpi|rni)\..*|cvt\.f64\.f32"
FINE = re.compile(f"({ROUNDED}|{OTHER}|{CONVERSIONS})")
FORBIDDEN = re.compile(r"\.approx|\.ftz|\.full|\bcall\b|\bex2|\blg2|\btanh|\bsin|\bcos|\brsqrt")
LOCAL = {"streamrnn.cuda.stages.update": 8}  # bytes: the moments of a parameter


def instructions(code):
    """Those of PTX, without what they work on."""
    return re.findall(r"^\s*(?:@!?%p\d+\s+)?([a-z]\w*(?:\.\w+)*)\s[^;]*;", code, re.MULTILINE)


def odd(code):
    """Instructions that might not give the bits of the CPU."""
    on_floats = {each for each in instructions(code) if re.search(r"\.f(16|32|64)", each)}
    return {each for each in on_floats if not FINE.fullmatch(each)} | set(FORBIDDEN.findall(code))


def source_kernels():
    """The names of the functions in the package that are compiled as kernels."""
    for path in Path(streamrnn.__file__).with_name("cuda").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and "device_kernel" in map(ast.unparse, node.decorator_list):
                yield f"{path.stem}.{node.name}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """PTX of each kernel, by name, for each list of types with which a simulated device launches it."""
    folder = tmp_path_factory.mktemp("kernels")
    run = {"capture_output": True, "text": True, "timeout": 10 * TIMEOUT}
    simulate = [sys.executable, Path(__file__).with_name("device_cases.py"), folder, "1", *QUICK]
    done = subprocess.run(simulate, **run)
    assert done.returncode == 0, done.stderr
    assert COMPILER.exists(), "`make .venv/cuda/installed` has a compiler for GPUs there"
    compile_all = [COMPILER, Path(__file__).with_name("device_code.py"), folder / "launched.json"]
    done = subprocess.run(compile_all, **run, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_kernels_compile_to_arithmetic_that_is_rounded_once(made):
    plain, strict = made.pop(PLAIN), made.pop(MADE_AS_KERNELS)
    # that a product and a sum stay two can be seen: where the compiler may, it makes them one
    assert [re.findall(r"(?:fma|mul|add)\.rn\.f32", code) for code in plain] == [["fma.rn.f32"]]
    assert [re.findall(r"(?:fma|mul|add)\.rn\.f32", code) for code in strict] == [["mul.rn.f32", "add.rn.f32"]]
    compiled = {re.sub(r"streamrnn\.cuda\.|kernels_of\.<locals>\.| \w+$", "", name) for name in made}
    assert compiled == {*source_kernels()}
    assert [name for name, codes in made.items() if not codes] == [], "no case launches these"
    wrong = {name: set.union(*map(odd, codes)) for name, codes in made.items()}
    assert {name: each for name, each in wrong.items() if each} == {}
    local = {name: sum(map(int, re.findall(r"__local_depot\d+\[(\d+)\]", codes[0]))) for name, codes in made.items()}
    assert {name: size for name, size in local.items() if size} == LOCAL


@pytest.mark.parametrize(
    "line",
    [
        "div.approx.f32 \t%f1, %f2, %f3;",
        "div.full.f32 %f1, %f2, %f3;",
        "add.rn.ftz.f32 %f1, %f2, %f3;",
        "fma.rz.f32 %f1, %f2, %f3, %f4;",
        "@%p1 mul.f32 %f1, %f2, %f3;",
        "ex2.approx.ftz.f32 %f1, %f2;",
        "call.uni (retval0), __nv_expf, (param0);",
    ],
)
def test_what_might_be_inexact_is_found(line):
    assert odd(f"\tmov.f32 %f1, %f2;\n\t{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "fma.rn.f32 %f1, %f2, %f3, %f4;",
        "@%p2 ld.global.f32 %f1, [%rd1];",
        "setp.lt.f64 %p1, %fd1, %fd2;",
        "cvt.rn.f32.f64 %f1, %fd1;",
    ],
)
def test_what_is_exact_is_not(line):
    assert not odd(f"\t{line}\n")
