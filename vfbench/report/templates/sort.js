// A click on a column's title, or Enter on it, sorts its table; numbers by their value, what is missing last.
for (const table of document.querySelectorAll("table.sortable")) {
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = Number(cell.dataset.value ?? cell.textContent.replace(/,/g, "").match(/^[-\d.]+/)?.[0]);
    return [Number.isNaN(value) ? null : value, cell.textContent.trim()];
  };
  const before = (a, b) => (a[0] === null) - (b[0] === null) || a[0] - b[0] || a[1].localeCompare(b[1]);
  table.querySelectorAll("thead th").forEach((title, column) => {
    const sort = () => {
      const down = title.ariaSort === "ascending";
      title.closest("tr").querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
      title.ariaSort = down ? "descending" : "ascending";
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => (down ? -1 : 1) * before(key(a, column), key(b, column)));
      table.tBodies[0].append(...rows);
    };
    title.tabIndex = 0;
    title.addEventListener("click", sort);
    title.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}
