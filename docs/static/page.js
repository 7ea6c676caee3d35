// A field above a long index that leaves only the entries with all of the words typed into it.
document.addEventListener('DOMContentLoaded', () => {
  const place = document.querySelector('.filter-here');
  if (!place) return;
  const rows = [...document.querySelectorAll('table.claims tbody tr')].map(e => [e]);
  const terms = [...document.querySelectorAll('.bd-article dt')].map(e => [e, e.nextElementSibling]);
  const entries = [...rows, ...terms].map(es => [es, es.map(e => e.textContent).join(' ').toLowerCase()]);
  const field = document.createElement('input');
  Object.assign(field, { type: 'search', className: 'filter', placeholder: `Filter ${entries.length} entries` });
  field.setAttribute('aria-label', 'Filter the entries of this page');
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/);
    entries.forEach(([es, text]) => { const no = !words.every(w => text.includes(w)); es.forEach(e => { e.hidden = no; }); });
    document.querySelectorAll('.bd-article section section').forEach(s => {
      const own = entries.filter(([es]) => s.contains(es[0]));
      s.hidden = own.length > 0 && own.every(([es]) => es[0].hidden);
    });
  });
  place.replaceWith(field);
});
