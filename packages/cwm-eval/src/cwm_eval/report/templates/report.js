for (const browser of document.querySelectorAll(".browser")) {
  const find = (selector) => browser.querySelector(selector);
  const samples = [...browser.querySelectorAll(".sample")];
  const verdicts = [...browser.querySelectorAll("[data-show]")];
  const [kind, run, search] = [find(".kind"), find(".run"), find(".search")];
  let verdict = "all";

  const matches = (sample) =>
    (verdict === "all" || (verdict === "right") === (sample.dataset.verdict === "right")) &&
    (!kind.value || JSON.parse(sample.dataset.kinds).includes(kind.value)) &&
    (!run?.value || sample.dataset.run === run.value) &&
    sample.dataset.search.includes(search.value.trim().toLowerCase());

  const update = () => {
    let count = 0;
    for (const sample of samples) {
      sample.hidden = !matches(sample);
      count += !sample.hidden;
    }
    find(".shown").textContent = `${count} of ${samples.length} shown`;
  };

  for (const button of verdicts) {
    button.addEventListener("click", () => {
      verdict = button.dataset.show;
      for (const other of verdicts) other.setAttribute("aria-pressed", String(other === button));
      update();
    });
  }
  for (const control of [kind, run, search]) control?.addEventListener("input", update);
  find(".unchanged-too")?.addEventListener("change", (event) =>
    browser.classList.toggle("all-variables", event.target.checked));
  update();
}
