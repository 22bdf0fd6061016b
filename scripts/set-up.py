"""Parses the Terraform and Bicep files and checks that every name they use is declared, and every declared variable used."""

import json
import re
import sys
from pathlib import Path

import hcl2
from pycep import BicepParser


def terraform(folder: Path) -> list[str]:
    """Undeclared references and unused variables of a Terraform module."""
    declared, used = {"each.key", "each.value"}, set()
    for path in sorted(folder.glob("*.tf")):
        with path.open() as file:
            module = hcl2.load(file)
        declared |= {f"var.{name}" for name in names(module, "variable")}
        declared |= {f"local.{name}" for block in module.get("locals", []) for name in block if "__" not in name}
        declared |= {f"{kind}.{name}" for kind, name in pairs(module, "resource")}
        declared |= {f"data.{kind}.{name}" for kind, name in pairs(module, "data")}
        expressions = " ".join(re.findall(r"\$\{.*?\}", json.dumps(without_comments(module))))
        used |= set(re.findall(r"\b(?:var|local)\.\w+|\b(?:data\.)?azurerm_\w+\.\w+", expressions))
    unused = {name for name in declared if name.startswith("var.")} - used
    return [f"undeclared {name}" for name in sorted(used - declared)] + [f"unused {name}" for name in sorted(unused)]


def bicep(path: Path) -> list[str]:
    """Undeclared symbols and unused parameters of a Bicep file."""
    text = path.read_text()
    tree = BicepParser().parse(text=text)
    parameters = set(tree["parameters"])
    declared = parameters | set(tree["variables"]) | set(tree["resources"])
    code = re.sub(r"^\s*(//|@description).*$", "", text, flags=re.MULTILINE)
    # A symbol before a property, after `parent:` or `scope:`, or at the start of an interpolation.
    used = set(re.findall(r"(?<![.\w'])(\w+)\.(?:id|name|properties)\b", code))
    used |= set(re.findall(r"\b(?:parent|scope): (\w+)$", code, flags=re.MULTILINE))
    used |= set(re.findall(r"\$\{(\w+)(?!\w*\()", code))
    unused = {name for name in parameters if len(re.findall(rf"\b{name}\b", code)) < 2}
    return [f"undeclared {name}" for name in sorted(used - declared)] + [f"unused {name}" for name in sorted(unused)]


def names(module: dict, block: str) -> list[str]:
    return [label.strip('"') for entry in module.get(block, []) for label in entry]


def pairs(module: dict, block: str) -> list[tuple[str, str]]:
    return [(kind.strip('"'), name.strip('"')) for entry in module.get(block, []) for kind, named in entry.items() for name in named]


def without_comments(value):
    if isinstance(value, dict):
        return {key: without_comments(inner) for key, inner in value.items() if key != "__comments__"}
    return [without_comments(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    kit = Path(sys.argv[1])
    findings = [f"terraform: {finding}" for finding in terraform(kit / "terraform")]
    findings += [f"bicep: {finding}" for finding in bicep(kit / "bicep" / "main.bicep")]
    print(*findings, sep="\n", end="\n" if findings else "")
    sys.exit(bool(findings))
