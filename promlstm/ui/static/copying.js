// Buttons that copy: data-copy is the id of what they copy. A page of plain HTTP from another machine has no clipboard: there the text is selected.

const SHOWN_MILLISECONDS = 2500;

async function copied(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return "Copied";
  } catch {
    document.getSelection().selectAllChildren(source);
    return "Press Ctrl+C";
  }
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  const name = button.textContent;
  button.setAttribute("aria-live", "polite");
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.textContent = await copied(document.getElementById(button.dataset.copy));
    setTimeout(() => { button.textContent = name; }, SHOWN_MILLISECONDS);
  });
}
