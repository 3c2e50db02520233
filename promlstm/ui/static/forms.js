// A form that filters leaves out what is not filled in, so that the link of a page is short.

for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("formdata", (event) => {
    for (const [name, text] of [...event.formData]) if (text === "" || text === "all") event.formData.delete(name);
  });
}
