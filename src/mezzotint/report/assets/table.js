/* Tables that are sorted by a click on the head of a column. */

/* columns: {title, value(row) to sort by, cell(row) to show, number, text, down: largest first, hint};
   options: {sort: index of the column, down, more: {title, show(row)}, label}. */
function table(columns, rows, options = {}) {
  const head = el("tr", {});
  const body = el("tbody", {});
  const more = options.more;
  let by = options.sort ?? -1;
  let down = options.down ?? false;
  const parts = rows.map((row) => line(columns, row, more));

  const arrange = () => {
    const order = parts.map((_, i) => i);
    if (by >= 0) order.sort((a, b) => compare(columns[by].value(rows[a]), columns[by].value(rows[b]), down) || a - b);
    body.replaceChildren(...order.flatMap((i) => parts[i]));
    [...head.children].slice(more ? 1 : 0).forEach((cell, i) => {
      cell.setAttribute("aria-sort", i !== by ? "none" : down ? "descending" : "ascending");
    });
  };
  columns.forEach((column, i) => {
    const button = el("button", { type: "button", title: column.hint }, column.title);
    button.addEventListener("click", () => {
      down = i === by ? !down : Boolean(column.down);
      by = i;
      arrange();
    });
    head.append(el(column.number ? "th.number" : "th", { scope: "col" }, button));
  });
  if (more) head.prepend(el("th", { scope: "col" }, el("span.hidden", {}, more.title)));
  arrange();
  return el("div.scroll", { tabindex: 0, role: "region", "aria-label": options.label },
    el("table", {}, el("thead", {}, head), body));
}

/* A row, and below it, where there is more to say, a row that is folded away. */
function line(columns, row, more) {
  const cells = columns.map((column) => el(column.number ? "td.number" : column.text ? "td.text" : "td", {}, column.cell(row)));
  const first = el("tr", {}, cells);
  if (!more) return [first];
  const inside = el("td", { colspan: columns.length + 1 });
  const second = el("tr.more", { hidden: true }, inside);
  const button = el("button.fold", { type: "button", "aria-expanded": "false" }, more.title);
  button.addEventListener("click", () => {
    if (!inside.childNodes.length) replace(inside, more.show(row));
    second.hidden = !second.hidden;
    button.setAttribute("aria-expanded", String(!second.hidden));
  });
  first.prepend(el("td", {}, button));
  return [first, second];
}

/* Numbers as numbers, texts that hold numbers by them; what is missing stands last whichever way. */
function compare(a, b, down) {
  const gone = (value) => value === null || value === undefined || value === "";
  if (gone(a) || gone(b)) return Number(gone(a)) - Number(gone(b));
  const order = typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

/* A flat config as a list of its groups, each folded. */
function tree(flat, open = false) {
  const groups = new Map();
  for (const [key, value] of Object.entries(flat)) {
    const [group] = key.split(".", 1);
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push([key.slice(group.length + 1), value]);
  }
  const single = [...groups].filter(([, pairs]) => pairs.length === 1 && !pairs[0][0]);
  const nested = [...groups].filter(([, pairs]) => pairs.length > 1 || pairs[0][0]);
  return el("div.tree", {},
    single.length ? pairs(single.map(([group, [[, value]]]) => [group, value])) : null,
    nested.map(([group, list]) => {
      const called = list.find(([key]) => key === "_target_");
      const rest = list.filter(([key]) => key !== "_target_");
      const name = called ? called[1].split(".").pop() : "";
      return el("details", { open }, el("summary", {}, group, name ? el("span.value", {}, ` ${name}`) : null),
        pairs(called ? [["_target_", called[1]], ...rest] : rest));
    }));
}

function pairs(list) {
  return el("dl.pairs", {}, list.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, value))));
}

/* The base with what is changed in it; null takes a key away. */
function whole(base, changes) {
  const all = { ...base, ...changes };
  for (const key of Object.keys(all)) if (all[key] === null) delete all[key];
  return all;
}
