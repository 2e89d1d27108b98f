"use strict";
(() => {
  const forms = [...document.querySelectorAll("form.filter")];

  /* A form narrows the items of one list: each select by an attribute of the item, the search by its text. */
  const watch = (form) => {
    const items = [...document.querySelectorAll(form.dataset.items)];
    const groups = [...document.querySelectorAll(form.dataset.groups || "none")];
    const said = form.querySelector("output");
    const texts = new Map();
    const text = (item) => {
      if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase().replace(/\s+/g, " "));
      return texts.get(item);
    };
    const apply = () => {
      const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = [...form.querySelectorAll("select")].filter((select) => select.value !== "");
      let shown = 0;
      for (const item of items) {
        const fits = wanted.every((select) => (item.dataset[select.name] || "").split(" ").includes(select.value));
        item.hidden = !(fits && words.every((word) => text(item).includes(word)));
        if (!item.hidden) shown += 1;
      }
      for (const group of groups) group.hidden = !group.querySelector(`${form.dataset.items}:not([hidden])`);
      said.textContent = `${shown} of ${items.length} shown`;
    };
    let waiting = 0;
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, items.length > 300 ? 150 : 0);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply, 0));
    for (const button of form.querySelectorAll("button[data-open]")) {
      button.addEventListener("click", () => {
        for (const item of items) if (!item.hidden) item.open = button.dataset.open === "yes";
      });
    }
    form.reset();
    form.hidden = false;
    apply();
    return apply;
  };
  const again = new Map(forms.map((form) => [form, watch(form)]));

  /* A link to a finding opens it, also where a filter hides it. */
  const reveal = () => {
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    if (!target || target.tagName !== "DETAILS") return;
    if (target.hidden) {
      const form = forms.find((each) => target.matches(each.dataset.items));
      form.reset();
      again.get(form)();
    }
    target.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#f']");
    if (link && link.hash === location.hash) reveal();
    const pick = event.target.closest("a[data-pick]");
    if (!pick) return;
    event.preventDefault();
    const form = document.querySelector("form.filter[data-items='.finding']");
    form.reset();
    form.elements.code.value = pick.dataset.pick;
    again.get(form)();
    form.scrollIntoView();
    form.elements.code.focus({ preventScroll: true });
  });
  reveal();

  /* What is folded is printed as well, and folded again. */
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
    folded = [];
  });
})();
