// Numbers as people read them, each with its unit, and elements that hold text only.

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : Math.abs(value) >= 100 || Number.isInteger(value)
    ? Math.round(value).toLocaleString("en") : value.toFixed(digits);

export const short = value => value === null || value === undefined ? "–" : Number(value.toPrecision(4)).toString();

export const bytes = value => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let k = 0;
  for (; value >= 1000 && k < units.length - 1; k++) value /= 1000;
  return `${k ? value.toFixed(1) : value} ${units[k]}`;
};

export const seconds = value => {
  if (value === null || value === undefined) return "–";
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.floor(value / 60) % 60} min`;
};

export const clock = when => new Date(when * 1000).toLocaleTimeString("en-GB");

export function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

export const $ = id => document.getElementById(id);

// Rows of a table: a name, and what it is.
export function table(body, rows) {
  body.replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("tr"), head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", value));
    return row;
  }));
}
