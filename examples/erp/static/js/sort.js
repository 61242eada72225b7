// A click on a heading of table.sortable sorts by that column; a second one turns the order around.
for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const column = heading.cellIndex;
    const turn = heading.dataset.order === "up" ? -1 : 1;
    heading.dataset.order = turn === 1 ? "up" : "down";
    const text = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((a, b) => turn * text(a).localeCompare(text(b), undefined, { numeric: true }));
    body.append(...rows);
  });
}
