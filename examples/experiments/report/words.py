"""How settings are called in tables and pictures."""

from ..records import Row

CONTROLS = {
    "none": "no penalty",
    "l1": "L1",
    "permuted": "coefficients permuted",
    "rows": "rows permuted",
    "random": "random coefficients",
}
NAMES = {
    "klein_bottle": "Klein bottle",
    "mobius_strip": "Möbius strip",
    "poincare_ball": "Poincaré ball",
    "projective_space": "projective plane",
    "special_orthogonal_3": "SO(3)",
    "euclidean": "R³",
    "r9": "R⁹",
    "dog": "DoG",
}
VALUES = {
    "scope": {"global": "all matrices together", "layer": "each matrix"},
    "select": {"kernels": "all kernels", "recurrent": "recurrent kernels"},
    "learned": {"True": "learned positions", "False": "fixed positions"},
}
PATTERNS = {
    "schedule": "{} schedule",
    "task": "{}",
    "cell": "{}",
}
LENGTHLESS = ("diffusion", "identity", "constant")
WITHOUT_POSITIONS = ("none", "l1")
USUAL_DENSITY = "0.1"  # of which a name says nothing


def spell(name: str) -> str:
    """Spells a name as it is written in a table."""
    return NAMES.get(name, name.replace("_", " "))


def name_setting(row: Row, columns: set[str]) -> str:
    """Names what tells the setting of a row from others of its table."""
    control = row["control"]
    placed = control not in WITHOUT_POSITIONS
    geometry = f"{spell(row['manifold'])} {spell(row['inhibitor'])}"
    name = CONTROLS.get(control, geometry)
    if name != geometry and placed and columns & {"manifold", "inhibitor"}:
        name += f" ({geometry})"
    if row["learned"] == "True" and placed:
        name += ", learned"
    if "strength" in columns and control != "none":
        name += f", strength {float(row['strength']):g}"
    if "density" in columns and placed:
        name += _name_length(row)
    return name


def _name_length(row: Row) -> str:
    if row["inhibitor"] in LENGTHLESS or row["density"] == USUAL_DENSITY:
        return ""
    density = float(row["density"])
    return f", density {density:g}" if density else ", the authors' length"


def describe(column: str, value: str) -> str:
    """Describes the value of a column."""
    if column == "sparsity":
        return f"{float(value):.0%} zeros" if float(value) else "dense"
    if column == "end":
        return f"final at {float(value):.0%} of the epochs"
    if column == "block":
        return f"blocks of {value.replace('x', ' × ')}" if value else "single weights"
    if column in VALUES:
        return VALUES[column][value]
    pattern = PATTERNS.get(column, column.replace("_", " ") + " {}")
    return pattern.format(value)
