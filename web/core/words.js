// Values in messages, as Python prints them: both languages refuse in the same words.

/** A number as Python prints a float. */
export function float(x) {
  return Number.isInteger(x) ? `${x}.0` : String(x);
}

/** A JSON value as Python prints it, cut to a length that fits a message. */
export function repr(value) {
  const text = python(value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

function python(value) {
  if (value === null || value === undefined) return "None";
  if (typeof value === "string") return value.includes("'") ? `"${value}"` : `'${value}'`;
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, held]) => `${python(name)}: ${python(held)}`).join(", ")}}`;
  }
  return value === true ? "True" : value === false ? "False" : String(value);
}

/** The name of a JSON value's type in Python. */
export function kind(value) {
  if (value === null) return "NoneType";
  if (Array.isArray(value)) return "list";
  return { string: "str", boolean: "bool", number: Number.isInteger(value) ? "int" : "float" }[typeof value];
}
