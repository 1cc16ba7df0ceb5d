"""Telling the person at the device: desktop, terminals, message of the day, the organisation's own hook."""

from isolator.adapters.notify.person_notifier import PersonNotifier
from isolator.adapters.notify.places import NotifyPlaces

__all__ = ["NotifyPlaces", "PersonNotifier"]
