"""What this host tells whoever listens to the notification topics: billing, Ceilometer, dashboards.

``notifier`` says it, ``legacy`` and ``versioned`` know the two forms, ``sender`` gives them to
oslo.messaging. With ``[oslo_messaging_notifications]driver`` unset nothing of it is built.
"""
