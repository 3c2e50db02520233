"""The pictures of the documents, made anew from the real programs: `python docs/pictures` (`make pictures`) writes docs/images.

    demo       what `promlstm demo` shows on a terminal
    exporter   the real exporter on a clock that is faster than life, as a child process
    history    three hours of a real exporter, in a real Prometheus that has evaluated the real rules
    legend     the names of series, what is drawn of them by their names, and bands, as Grafana has it
    pages      pages of the exporter, in a real browser
    panels     a dashboard's JSON and what Prometheus answers, as a drawing
    report     the first screen of a benchmark's HTML report, in a real browser
    svg        the pieces of a drawing

A drawing has no script, asks for nothing from elsewhere and is readable on a light and on a dark page.
"""

IMAGES = {
    'demo.svg': 'demo',
    'dashboard-overview.svg': 'dashboards',
    'dashboard-detector.svg': 'dashboards',
    'dashboard-exporter.svg': 'dashboards',
    'report.png': 'report',
    'page-now.png': 'pages',
    'page-incident.png': 'pages',
    'page-entity.png': 'pages',
    'page-what-if.png': 'pages',
}  # file in docs/images: the group that makes it
