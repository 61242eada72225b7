// A text field with data-filter="#table" hides the rows that do not contain what is typed.
for (const field of document.querySelectorAll("input[data-filter]")) {
  const rows = document.querySelectorAll(`${field.dataset.filter} tbody tr`);
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
